"""Models that somebody else trained: read safely, and asked as if they were ours.

- `layouts` and `inspect` find the parts of a model: in a folder of diffusers' `save_pretrained`, a hub id, the
  checkpoints of a training, a single file, or a module behind a small function (`adapter`);
- `families` say what a network is called with, one file a kind;
- `parameterisations` make noise of what it predicts, and `prediction` reads which one it is from its scheduler;
- `build` loads the weights, and `denoiser` is then eps(x_t, t, label) as attacks know it.

docs/models.md has the list. What is on none of these is refused in one line that names what is known.
"""
