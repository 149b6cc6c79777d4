"""Suite files: each .toml beside this file is a suite that `leakbench run` knows by its name."""
