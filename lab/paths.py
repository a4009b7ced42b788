"""Where the lab keeps things: disks and keys in STATE, downloads and builds that outlive any lab in CACHE."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
STATE = Path(os.environ.get("ESCALA_LAB_STATE", "/var/lib/escala-lab"))
CACHE = Path(os.environ.get("ESCALA_LAB_CACHE", "/var/cache/escala-lab"))
TOPOLOGIES = CHECKOUT / "lab" / "topologies"
INVENTORY = CHECKOUT / "inventories" / "lab"
