.PHONY: test check format quickstart lock clean

test:        ## the tests
	uv run pytest

check:       ## what CI runs beside the tests
	uv run ruff check
	uv run ruff format --check
	uv run mypy
	uv run lint-imports

format:      ## put the code in order
	uv run ruff check --fix
	uv run ruff format

quickstart:  ## demonstrate, train, evaluate and report
	uv run progress-rm quickstart

lock:        ## the frozen resolution with hashes, for pip users and audits
	uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet --output-file requirements.lock

clean:       ## what tools leave behind
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
