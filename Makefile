PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV = .venv
COMPAT = .venv-tf219
RUN = $(VENV)/bin/python

.PHONY: quickstart test lint compat benchmark clean

# Trains ResNet-20 on the embedded images, converts, verifies, prints a table.
quickstart: $(VENV)/ready
	$(RUN) train/cifar.py --model resnet20 --dataset fashion_mnist_mini

test: $(VENV)/ready
	$(RUN) -m pytest -m "" -n 2

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The fast tests on the newest versions that work together.
compat: $(COMPAT)/ready
	TF_USE_LEGACY_KERAS=1 $(COMPAT)/bin/python -m pytest -n 2

benchmark: $(VENV)/ready
	$(RUN) benchmarks/train_step.py

clean:
	rm -rf $(VENV) $(COMPAT)

define make_environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' || \
	  { echo "siman-larq needs Python 3.10 or 3.11; name one: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "Python lacks venv; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
endef

$(VENV)/ready: requirements/tf215.txt
	$(make_environment)

$(COMPAT)/ready: requirements/tf219.txt
	$(make_environment)
