.PHONY: test lint bench
test:  ; @SETUP=$(SETUP) scripts/test
lint:  ; @scripts/lint
bench: ; @scripts/bench
