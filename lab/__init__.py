"""Real Debian hosts on one machine: the lab in which `escala.ha` is tried. See docs/lab.md."""
