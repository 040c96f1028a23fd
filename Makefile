# Needs Python 3.11 to 3.13 and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

# make demo TORCH=cpu takes PyTorch's CPU builds, TORCH=default those of the package index; left out: what .venv has already.
TORCH ?= $(if $(wildcard .venv/.made-cpu),cpu,default)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ENVIRONMENT := .venv/.made$(if $(filter cpu,$(TORCH)),-cpu)
OTHER := $(if $(filter cpu,$(TORCH)),.venv/.made,.venv/.made-cpu)

.PHONY: help demo test test-fast proofs runtimes litert lint mutants bench soak matrix models clients aarch64 chips clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' Makefile

demo: $(ENVIRONMENT)  ## train LeNet, export it, prove it, read a picture without torch
	$(BIN)/mnist-edge demo

# Where it is set, each test worker and each of the hundreds of processes that tests start compiles our modules again.
unexport PYTHONDONTWRITEBYTECODE

WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal
test: $(ENVIRONMENT)  ## run all tests but the proofs, on all cores; tests on MNIST run only if it is found
	$(PYTEST) -m "not proof"

test-fast: $(ENVIRONMENT)  ## run the fast tests, for while you work (under a minute in all)
	$(PYTEST) -m "not slow and not proof"

proofs: $(ENVIRONMENT) litert clients  ## run the slow tests: emulated processors (needs apt), node, a browser (chromium), converters, the oldest onnxruntime, the largest networks
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[executorch,ray]" playwright
	$(PYTEST) -m proof

runtimes: $(ENVIRONMENT)  ## install the other runtimes for ONNX files: OpenVINO, tract and onnxruntime-web (needs npm); the proofs use them
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[openvino,tract]"
	@$(BIN)/python -c "from mnist_edge.runtimes import get; print(get('ort-web').missing().get('onnxruntime-web', ':'))" | sh -ex

litert: $(ENVIRONMENT)  ## install the converter of format litert into the user's cache (0.9 GB, without TensorFlow)
	@$(BIN)/python -c 'import exporters, shlex, subprocess, sys; \
	  [subprocess.run([sys.executable, *shlex.split(line)[1:], "--quiet"], check=True) for line in exporters.find("litert").missing().values()]'

lint: $(ENVIRONMENT)  ## run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clients: build/clients/.made  ## install the clients of Triton and KServe in an environment of their own; the proofs of the server use them
build/clients/.made: $(ENVIRONMENT)
	$(PYTHON) -m venv build/clients
	build/clients/bin/python -m pip install --quiet "tritonclient[http,grpc]==2.73.0" kserve==0.21.0 prometheus_client openapi-spec-validator
	@touch $@

build/mlserver/.made:
	$(PYTHON) -m venv build/mlserver
	build/mlserver/bin/python -m pip install --quiet "mlserver==1.7.*" "uvloop<0.22" onnxruntime
	@touch $@

ONLY ?=
SAMPLE ?=
SEED ?=
JOBS ?= 2
mutants: $(ENVIRONMENT)  ## mutation testing: break the proving code, one change at a time, and see whether the tests notice (hours; for a part: ONLY=store SAMPLE=20 SEED=1)
	$(BIN)/python -m pip install --quiet "cosmic-ray>=8.4,<9" "coverage>=7"
	nice -n 10 $(BIN)/python tests/mutants/run.py --jobs $(JOBS) $(if $(ONLY),--only $(ONLY)) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED))

bench: $(ENVIRONMENT) build/mlserver/.made  ## run the benchmarks and write benchmarks/RESULTS.md
	$(BIN)/python benchmarks/run.py

soak: $(ENVIRONMENT)  ## test the server with 100,000 mutated requests, then with a million good ones, restarts and a kill (about 15 minutes)
	$(BIN)/python benchmarks/serving_fuzz.py
	$(BIN)/python benchmarks/serving.py

matrix: $(ENVIRONMENT) runtimes litert aarch64  ## run every reference artifact on every runtime and platform, and write docs/matrix.md (hours; can be interrupted)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[executorch]"
	$(BIN)/python benchmarks/matrix.py

PICTURES ?=
models: $(ENVIRONMENT)  ## train the reference models again, in build/, and prove their artifacts (hours; can be interrupted)
	$(BIN)/python benchmarks/reference_models.py --jobs $(JOBS) $(if $(PICTURES),--pictures $(PICTURES))

$(ENVIRONMENT): pyproject.toml constraints.txt
	@case "$(TORCH)" in cpu|default) ;; *) echo "error: TORCH=$(TORCH) is neither cpu nor default" >&2; exit 1;; esac
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $(PYTHON) is not Python 3.11 to 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
ifeq ($(TORCH),cpu)
	@rm -rf build/torch && $(PYTHON) -m venv build/torch
	@echo "downloading PyTorch's CPU builds from $(TORCH_INDEX)"
	@build/torch/bin/python -m pip download --quiet --retries 1 --no-deps -c constraints.txt \
	    --index-url $(TORCH_INDEX) --dest build/torch/wheels torch torchvision >build/torch/log 2>&1 || \
	  { echo "error: PyTorch's CPU builds cannot be downloaded from $(TORCH_INDEX) (build/torch/log says why); name a mirror with TORCH_INDEX=URL," \
      "or take the default builds: make $(MAKECMDGOALS) TORCH=default" >&2; exit 1; }
endif
	$(PYTHON) -m venv $(if $(wildcard $(OTHER)),--clear) .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
ifeq ($(TORCH),cpu)
	$(BIN)/python -m pip install --quiet --no-deps build/torch/wheels/*.whl
	@rm -rf build/torch
	@echo "installing the rest into .venv (a few minutes)"
else
	@echo "installing torch and the rest into .venv (about 6 GB; a few minutes)"
endif
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[train,dev]"
	@touch $@

aarch64: $(ENVIRONMENT)  ## set up an emulated Raspberry Pi in build/ (Debian or Ubuntu; needs no root; 130 MB to download)
	$(BIN)/python -m mnist_edge.runtimes.emulated aarch64

chips: $(ENVIRONMENT)  ## set up the emulators of chips in build/: Cortex-M, RISC-V, 64-bit Arm (Debian or Ubuntu; needs no root; 90 MB to download)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[c]"
	$(BIN)/python -m mnist_edge.runtimes.chips

clean:  ## remove the environment and what the demo wrote
	rm -rf .venv demo
