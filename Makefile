# The project's commands. "make help" lists them; what takes more than a line is in scripts/.
.PHONY: help demo test lint bench evidence report notebooks lab clean build

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: build ## train a teacher and its students, and draw the comparison (minutes on two cores)
	@scripts/need.sh data
	.bin/dhkd demo

test: ## run all checks, installing what they need
	@scripts/test.sh

lint: ## check the format and the code of all packages, and the images' files
	@scripts/test.sh gofmt vet staticcheck containers

bench: build ## compare the speed of training steps with PyTorch's and JAX's (BENCH="-limit 2.2 -json bench.json")
	@scripts/need.sh xla
	go run ./dhkd/internal/bench $(BENCH)

evidence: build ## make the runs that the notebooks show (hours on two cores; it can be interrupted and continued)
	@scripts/need.sh xla data
	scripts/evidence.sh

report: build ## write the report on the paper's claims anew: docs/reproduction.md and .html
	.bin/dhkd report --claims notebooks/records --out docs

notebooks: build ## run all notebooks anew and store their outputs
	@scripts/need.sh xla jupyter data
	.venv/bin/python notebooks/sync.py
	.venv/bin/python notebooks/run.py --inplace --jobs 2 notebooks/[0-9]*.md

lab: build ## open the notebooks in JupyterLab
	.bin/dhkd setup
	.bin/dhkd lab

clean: ## remove programs, environments and caches made here, but no results (runs/)
	rm -rf .bin .venv .cache

build: ## build .bin/dhkd
	@scripts/need.sh compiler
	@mkdir -p .bin
	go build -buildvcs=auto -o .bin/dhkd ./dhkd/cmd/dhkd
