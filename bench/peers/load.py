"""The peer of a start: `load.py FILE KEY` reads a data file of kvs with PyYAML and prints a value."""

import sys

import yaml

with open(sys.argv[1], "rb") as file:
    entries = yaml.load(file, Loader=yaml.CSafeLoader)
print(entries[sys.argv[2]]["value"])
