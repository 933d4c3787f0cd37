"""The version of Isthmus, which the overview and the data package name.

Jobs run again when code that they import changes. The version is therefore not in the package itself: a release repeats
no work.
"""

VERSION = "1.0.0"
