"""The commands of ``vivit``, one a file: `HELP`, `add_arguments`, and `main`, which returns an exit status (None is 0).

TensorFlow and TFX are imported in `main`, when the terminal is quiet, so that ``vivit --help`` does not wait for them.
"""
