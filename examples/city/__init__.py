"""A synthetic city: departments that drop extract files, a fault injector, and the truth behind both.

Everything here is invented. `city.make_city` writes the files; `python -m examples.city --out DIR` does it from a shell.
"""
