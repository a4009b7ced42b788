"""The steps of `make test` as nox sessions, in the one virtual environment that requirements.txt fixes."""

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "static", "unit", "sanity"]


def _steps(session: nox.Session, *names: str) -> None:
    session.run("tools/setup_venv.sh", external=True)
    session.run(".venv/bin/python", "-m", "tools.run_tests", "--only", *names, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, linters and types."""
    _steps(session, "format", "ruff", "mypy", "ansible-lint", "changelog")


@nox.session
def static(session: nox.Session) -> None:
    """Rules about the tree itself."""
    _steps(session, "static")


@nox.session
def unit(session: nox.Session) -> None:
    """Unit tests."""
    _steps(session, "unit")


@nox.session
def sanity(session: nox.Session) -> None:
    """Sanity tests of ansible-test."""
    _steps(session, "sanity")


@nox.session
def lab(session: nox.Session) -> None:
    """Molecule scenarios and stories on the lab, which takes root."""
    _steps(session, "lab", "single_server", "etapa_1_nginx", "etapa_1_haproxy", "stories", "etapa_3", "lab-cli")
