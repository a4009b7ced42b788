# Only wiring: what each target does is in lab/, tools/ and playbooks/.
TOPOLOGY ?= default
# The distribution's Python where it is new enough: built with a profile, it computes a fourth faster than one that pyenv compiles.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help lab test soak soak-failover soak-backup soak-storage lint unit venv check hosts lock clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lab: check ## boot the hosts, make them the platform, print addresses and verdicts (TOPOLOGY=default)
	@$(MAKE) --no-print-directory -j2 venv hosts
	@.venv/bin/python -m lab converge

test: check venv ## all tests, on a lab of their own making, and a table of what took how long
	@.venv/bin/python -m tools.run_tests

soak: check venv ## the many-run series of the stories, which write docs/measurements.md
	@$(PYTHON) -m lab up --topology small
	@.venv/bin/python -m lab converge
	@status=0; \
	.venv/bin/python -m pytest tests/lab --soak -v -m "not etapa_2 and not etapa_3 and not first_run" || status=1; \
	ESCALA_LOAD_BALANCER_ENGINE=haproxy .venv/bin/python -m lab converge; \
	ESCALA_LOAD_BALANCER_ENGINE=haproxy .venv/bin/python -m pytest tests/lab --soak -v -m either_engine || status=1; \
	exit $$status

soak-failover: check venv ## the database's stories, 20 runs of each fault of its primary, which write docs/measurements.md
	@$(PYTHON) -m lab up --topology database
	@status=0; \
	.venv/bin/python -m pytest tests/lab --soak -v -m first_run || status=1; \
	.venv/bin/python -m lab converge; \
	.venv/bin/python -m pytest tests/lab --soak -v -m etapa_3 || status=1; \
	$(PYTHON) -m lab down && $(PYTHON) -m lab up --topology database_debian12 --fresh && .venv/bin/python -m lab converge && \
		.venv/bin/python -m pytest tests/lab/test_etapa_3_upgrade.py --soak -v || status=1; \
	.venv/bin/ansible-playbook playbooks/end_database_migration.yml && $(PYTHON) -m lab up --topology major_upgrade && \
		.venv/bin/python -m lab converge --until database && .venv/bin/python -m pytest tests/lab/test_etapa_3_major_upgrade.py --soak -v || status=1; \
	$(PYTHON) -m lab down && $(PYTHON) -m lab up --topology adoption --fresh && .venv/bin/python -m lab converge && \
		.venv/bin/python -m pytest tests/lab/test_etapa_3_adopt.py --soak -v || status=1; \
	$(PYTHON) -m lab down && $(PYTHON) -m lab up --topology patroni --fresh && .venv/bin/python -m lab converge && \
		.venv/bin/python -m pytest tests/lab/test_etapa_3_patroni.py --soak -v || status=1; \
	exit $$status

soak-backup: check venv ## the backups' stories: drills, damage, and a table that was dropped
	@$(PYTHON) -m lab up --topology backups && .venv/bin/python -m lab converge && \
		.venv/bin/python -m pytest tests/lab/test_etapa_3_backup.py tests/lab/test_etapa_3_backup_faults.py --soak -v

soak-storage: check venv ## the storage's stories: 2,000 uploads over a node's power-off, a migration of 10,000 files
	@status=0; \
	for topology in object_storage smb_storage nfs_storage nfs_to_minio; do \
		$(PYTHON) -m lab up --topology $$topology && .venv/bin/python -m lab converge && \
		ESCALA_UPLOADS=10000 .venv/bin/python -m pytest tests/lab --soak -v -m etapa_2 || status=1; \
	done; \
	exit $$status

lint: venv ## formatting, linters and types
	@.venv/bin/python -m tools.run_tests --only format ruff mypy ansible-lint changelog

unit: venv ## static rules and unit tests
	@.venv/bin/python -m tools.run_tests --only static unit

venv: ## the virtual environment, .venv, from requirements.txt
	@tools/setup_venv.sh

lock: venv ## requirements*.txt from requirements*.in, with newest versions
	@for name in requirements requirements-sslyze; do \
		.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--custom-compile-command "make lock" $$name.in -o $$name.txt || exit; done

check:
	@$(PYTHON) -m lab check

hosts:
	@$(PYTHON) -m lab up --topology $(TOPOLOGY)

clean: ## remove the lab with its disks, the virtual environment and what tests left; downloads stay
	@rm -rf .venv .venv.lock .nox .cache .ansible .hypothesis .ruff_cache dist tests/output inventories/*/.state
	@$(PYTHON) -m lab down --purge --force
