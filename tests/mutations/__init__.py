"""Each protection taken away turns a test red: the mutants in this folder's tables, and what runs them.

python -m tests.mutations                 every mutant that needs neither Kafka nor MongoDB
python -m tests.mutations --level all     all of them
python -m tests.mutations --list          what there is
python -m tests.mutations --only S1       those whose id begins so
"""
