"""Tables for papers, in LaTeX with booktabs and siunitx: one file each, registered in `registry`."""
