"""Files and folders of a model that are not what diffusers' `save_pretrained` writes of a whole pipeline."""
