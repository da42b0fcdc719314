"""Tests of the package; `tests/python_package.rs` runs them among the real programs. Alone they run too: those that need a
coordinator say so and skip."""
