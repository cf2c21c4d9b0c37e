# The first that runs: pyenv has commands for versions that do not.
first = $(or $(firstword $(foreach name,$(1),$(shell $(name) -c '' 2>/dev/null && echo $(name)))),python3)
ifeq ($(origin PYTHON), undefined)
PYTHON := $(call first,python3.11 python3.12 python3.10)
endif
NEWEST := $(call first,python3.12 $(PYTHON))
VENV = .venv
COMPAT = .venv-tf219
DOCS = .venv-docs
RUN = $(VENV)/bin/python
# TensorFlow 2.15 has no wheel for Python 3.12, and much else no new one for 3.10.
PINS = {10: "tf215-py310", 11: "tf215"}.get(sys.version_info[1], "tf219")
REQUIREMENTS := requirements/$(shell $(PYTHON) -c 'import sys; print($(PINS))').txt

EMULATED = .pi
LITERT_LOWEST = 1.1.2
EPOCHS =

.PHONY: quickstart test notebooks lint compat packages docs benchmark clean wheels wheel-macos runtime-test predict-arm emulate sanitize

# Trains ResNet-20 on the embedded images, converts, verifies, prints a table; EPOCHS=2 is shorter.
quickstart: $(VENV)/ready
	$(RUN) train/cifar.py --model resnet20 --dataset fashion_mnist_mini $(if $(EPOCHS),--epochs $(EPOCHS))

test: $(VENV)/ready
	$(RUN) -m pytest -m "" -n 2 --durations 30

# All of notebooks/, anew; the files are left as they are. What needs siman-runtime is skipped without it.
notebooks: $(VENV)/ready
	$(RUN) -m pytest --nbmake --nbmake-timeout=1200 -n 2 notebooks

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The fast tests on the newest versions that work together, with Python 3.12 where it is.
compat: $(COMPAT)/ready
	$(COMPAT)/bin/python -m pytest -n 2 --durations 30

# Wheel and sdist, installed in a fresh environment outside this folder, and every cure of a message.
packages: $(VENV)/ready
	$(RUN) -m pytest -m "" tests/packages.py

# The documentation, into site/; it needs neither TensorFlow nor a network.
docs: $(DOCS)/ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet

benchmark: $(VENV)/ready
	$(RUN) benchmarks/train_step.py

# siman-runtime's wheels for x86-64 and aarch64, into runtime/dist.
wheels: runtime/dist/wheels

runtime/dist/wheels: $(VENV)/ready runtime/tools/wheels.py runtime/tools/count_instructions.py \
  $(wildcard runtime/*.* runtime/src/*.* runtime/siman_runtime/*.* runtime/siman_runtime/*/*.*)
	$(RUN) runtime/tools/wheels.py runtime/dist
	$(RUN) runtime/tools/count_instructions.py
	touch $@

# That for macOS on Apple's processors, where nothing was tested.
wheel-macos: $(VENV)/ready
	$(RUN) runtime/tools/wheels.py runtime/dist macos

# What Larq Compute Engine computes of random ops and networks.
CASES = runtime/dist/cases.npz
$(CASES): $(VENV)/ready runtime/tests/make_cases.py runtime/tests/tflite_models.py
	mkdir -p $(@D)
	$(RUN) runtime/tests/make_cases.py $@

# Ops and networks against LCE with every instruction set; the lowest ai-edge-litert; hostile files.
runtime-test: wheels $(CASES)
	$(RUN) -m pip install --quiet --force-reinstall --no-deps runtime/dist/*$$(uname -m).whl
	$(RUN) -m pip install --quiet --no-deps -r requirements/camera.txt
	-$(RUN) -m pip install --quiet --no-deps pymicro-wakeword==2.5.0  # has TensorFlow Lite's C library
	SIMAN_CASES=$(CASES) $(RUN) -m pytest -m "" runtime/tests tests/test_runtime.py \
	  tests/test_layerwise.py
	rm -rf runtime/dist/lowest
	$(RUN) -m pip install --quiet --no-deps --target runtime/dist/lowest \
	  ai-edge-litert==$(LITERT_LOWEST) runtime/dist/*$$(uname -m).whl
	PYTHONPATH=runtime/dist/lowest $(RUN) runtime/tests/replay.py $(CASES)

# What a simulator of processors expects of the hot loops on Raspberry Pi 4 and 5; needs llvm-mca.
predict-arm: $(VENV)/ready
	$(RUN) runtime/tools/predict_arm.py

# The same on emulated aarch64, with the userland of Raspberry Pi OS bookworm, and the comparison with
# LCE on trixie's too; as root on Debian or Ubuntu.
EMULATE = PYTHON=$(CURDIR)/$(RUN) runtime/tests/emulate.sh $$os $(CURDIR)/$(EMULATED)/$$os \
  "$$(echo runtime/dist/*aarch64.whl),ai-edge-litert==2.3.0,numpy<2.4,pillow,pytest"
emulate: wheels $(CASES)
	os=bookworm; for threads in 1 3; do $(EMULATE) runtime/tests/replay.py $(CASES) $$threads || exit 1; done
	os=bookworm; $(EMULATE) -m pytest -q -p no:cacheprovider runtime/tests
	os=trixie; $(EMULATE) runtime/tests/replay.py $(CASES) 3

# The threads under ThreadSanitizer, and 20,000 hostile models through a build with AddressSanitizer
# and UBSan; needs g++. Then two minutes of libFuzzer, which needs clang.
SANITIZED = runtime/dist/sanitized
HOSTILE = 20000
FUZZ_SECONDS = 120
LIBFUZZER = $(SANITIZED)/libfuzzer
sanitize: $(VENV)/ready
	mkdir -p $(SANITIZED)
	g++ -std=c++17 -O1 -g -fsanitize=thread -Wall -Wextra -Werror \
	  runtime/tests/thread_pool_stress.cc runtime/src/thread_pool.cc -o $(SANITIZED)/thread_pool_stress
	$(SANITIZED)/thread_pool_stress
	CXX=g++ $(RUN) runtime/tools/sanitized.py $(SANITIZED)
	for kernel in avx512 avx512bw avx2 portable; do \
	  export SIMAN_KERNEL=$$kernel SIMAN_LIBRARY=$(SANITIZED)/libsiman_runtime.so PYTHONPATH=runtime; \
	  export LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so.6)"; \
	  export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1; \
	  if $(RUN) -c 'import siman_runtime as s; s.kernel_name()' 2>&1 | grep 'does not run on'; then continue; fi; \
	  $(RUN) runtime/tests/fuzz.py $(HOSTILE) 1 || exit 1; \
	done
	command -v clang++ >/dev/null || { echo "clang is absent (apt-get install clang): no libFuzzer"; exit 0; }; \
	CXX=clang++ $(RUN) runtime/tools/sanitized.py $(LIBFUZZER) --libfuzzer && mkdir -p $(LIBFUZZER)/corpus && \
	ASAN_OPTIONS=allocator_may_return_null=1 $(LIBFUZZER)/fuzz_ops -max_total_time=$(FUZZ_SECONDS) \
	  -max_len=4096 -timeout=60 -rss_limit_mb=3000 -artifact_prefix=$(LIBFUZZER)/ -print_final_stats=1 \
	  -verbosity=0 $(LIBFUZZER)/corpus runtime/tests/libfuzzer/corpus

clean:
	rm -rf $(VENV) $(COMPAT) $(DOCS) site $(EMULATED) runtime/dist

define make_environment
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "siman-larq needs Python 3.10 to 3.12, and this is $$($(PYTHON) -V): TensorFlow up to 2.19 and Larq" \
	  "Compute Engine have no wheel for it; name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "Python lacks venv; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
endef

$(VENV)/ready: $(REQUIREMENTS)
	$(make_environment)

$(COMPAT)/ready: PYTHON := $(NEWEST)
$(COMPAT)/ready: requirements/tf219.txt
	$(make_environment)

$(DOCS)/ready: requirements/docs.txt
	$(make_environment)
