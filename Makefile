# netverdict. Two commands matter: make demo, make test.

# Outside the checkout, so that fresh clones share what was built.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/netverdict/target

.PHONY: demo test bench fuzz faults soak

# A cluster inside the program; no root, no OVN. make demo QUERY=verdict=dropped shows a part.
demo:
	@scripts/demo $(QUERY)

# Everything: format, lints, fast tests, the native lab, the VM lab. Sets up what is missing.
test:
	@scripts/test

# The figures of the project, one a line. make bench ONLY=NAME for one of them.
bench:
	@scripts/bench $(ONLY)

# Looks for inputs that break a parser, SECONDS_EACH (60) seconds for each of them.
fuzz:
	@scripts/fuzz

# 100 million connections (N) of a simulated cluster: one right row for each, in bounded memory.
soak:
	@scripts/soak $(N)

# Seeds faults into the compiler and the twin, one at a time, and sees that the judges of lab/policy and lab/twin catch each.
faults:
	@lab/policy/faults.py
	@lab/twin/faults.py
