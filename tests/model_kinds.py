"""The table of kinds in docs/models.md: tiny models of random weights of every family, scheduler and layout of files,
and what came of each.

    python tests/model_kinds.py

writes it anew (5 minutes of one thread); tests/leakbench/models/pretrained/test_kinds.py holds the page to it.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "models.md"
BEGIN, END = "<!-- kinds, written by tests/model_kinds.py -->", "<!-- end of kinds -->"
COMMAND = "python tests/model_kinds.py writes the table of docs/models.md anew"


def _load(path: str) -> Any:
    """A module of the tests by its file."""
    spec = importlib.util.spec_from_file_location(f"kinds_{Path(path).stem}", HERE / path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where its dataclasses look
    spec.loader.exec_module(module)
    return module


T = torch.tensor([3, 700])
checks, layouts = _load("kind_checks.py"), _load("kind_layouts.py")
attacking = _load("kind_attacks.py")


@dataclass(frozen=True)
class Row:
    """loads: "yes", or the line that refuses it, in a run and a plan. step: whether eps is that of the scheduler's or
    pipeline's own step, or of the file's network, at 1e-4. walk: whether five moves are those of diffusers' DDIM; ""
    where the levels differ. attacks: how many ran, or the row of an equal model. reasons: of those not applicable."""

    kind: str
    loads: str
    step: str = ""
    walk: str = ""
    attacks: str = ""
    reasons: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        return f"| {self.kind} | {self.loads} | {self.step} | {self.walk} | {self.attacks} |"


@dataclass
class Tried:
    """Where a kind lies, how it is given, and the noise that is expected: check(model) -> (step, walk)."""

    path: Path
    given: dict[str, Any] = field(default_factory=dict)
    check: Callable[[Any], tuple[bool, bool | None]] | None = None


class Maker:
    """Makes kinds in a folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.whole, self.tiny, self.stepping = _load("whole_pipelines.py"), _load("pipelines.py"), _load("one_step.py")
        self.nets = _load("leakbench/models/pretrained/conftest.py")
        self.authors = _load("leakbench/models/pretrained/test_authors_unets.py")
        self.singles = _load("leakbench/models/pretrained/test_single_file.py")
        self.words = self.tiny.tokenizer(home / "words")
        self.captions = home / "captions.txt"
        self.captions.write_text("a cat\nthe red house\na cat\n")
        self.count = 0

    def folder(self) -> Path:
        self.count += 1
        return self.home / f"model-{self.count}"

    # pixels

    def pixels(self, scheduler: str, settings: dict[str, Any] | None = None, **unet: Any) -> Tried:
        import diffusers

        body, folder = self.nets.unet(**unet), self.folder()
        made = getattr(diffusers, scheduler)(**(settings or {}))
        diffusers.DDPMPipeline(body, made).save_pretrained(folder)
        table = json.loads((folder / "model_index.json").read_text())
        table["scheduler"] = ["diffusers", scheduler]
        (folder / "model_index.json").write_text(json.dumps(table))
        return Tried(folder, check=lambda model: checks.check_pixels(model, body, made))

    def family(self, name: str) -> Tried:
        pipeline, folder = self.whole.make(name, self.words), self.folder()
        pipeline.save_pretrained(folder)
        large = name in ("FLUX.1-dev", "FLUX.1-schnell", "FLUX.2-klein", "Qwen-Image", "Z-Image")
        size = {"size": 64} if name.endswith("pixels") else {"size": 32} if large else {}
        check = lambda model: checks.check_family(model, pipeline, name, self.stepping.step)  # noqa: E731
        return Tried(folder, {"captions": str(self.captions)} | size, check)

    def stable_diffusion(self, **scheduler: Any) -> Tried:
        from diffusers import DDIMScheduler

        folder = self.folder()
        folder.mkdir()
        pipeline = self.tiny.untrained(folder)
        settings = self.tiny.SCHEDULE | {"clip_sample": False, "timestep_spacing": "trailing"} | scheduler
        pipeline.scheduler = DDIMScheduler(**settings)
        pipeline.scheduler.save_pretrained(folder / "pipeline/scheduler")
        pipeline.set_progress_bar_config(disable=True)
        check = lambda model: checks.check_family(model, pipeline, "SD", self.stepping.step)  # noqa: E731
        return Tried(folder / "pipeline", {"captions": str(self.captions)}, check)

    def dit(self) -> Tried:
        from diffusers import DiTPipeline, DiTTransformer2DModel

        body = DiTTransformer2DModel(
            sample_size=8, in_channels=4, out_channels=8, num_layers=1, num_attention_heads=2, attention_head_dim=8,
            num_embeds_ada_norm=5, patch_size=2,
        ).eval()  # fmt: skip
        pipeline, folder = DiTPipeline(body, self.whole.vae(), self.whole.ddim(), id2label={0: "a"}), self.folder()
        pipeline.save_pretrained(folder)
        return Tried(
            folder, check=lambda model: checks.check_pixels(model, body, pipeline.scheduler, torch.tensor([2, 4]))
        )

    def latents(self) -> Tried:
        from diffusers import LDMPipeline, VQModel

        body, folder = self.nets.unet(in_channels=3, out_channels=3, sample_size=8), self.folder()
        coder = VQModel(
            block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, num_vq_embeddings=8,
            up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, scaling_factor=0.5,
        ).eval()  # fmt: skip
        LDMPipeline(coder, body, self.whole.ddim()).save_pretrained(folder)
        return Tried(folder, check=lambda model: checks.check_pixels(model, body, self.whole.ddim()))

    # layouts: one small network in the files that people have

    def layout(self, write: Callable[[Path, Any], tuple[Path, dict[str, Any]]]) -> Tried:
        from diffusers import DDPMPipeline, DDPMScheduler

        body, folder = self.nets.unet(), self.folder()
        DDPMPipeline(body, DDPMScheduler()).save_pretrained(folder)
        path, given = write(folder, body)
        return Tried(path, given, lambda model: (checks.is_same(model, body), None))

    def openai(self, name: str) -> Tried:
        flags, folder = self.authors.FLAGS[name], self.folder()
        folder.mkdir()
        body = self.authors.open_network(flags)
        torch.save(body.state_dict(), folder / "ema.pt")
        (folder / "ema.json").write_text(json.dumps(flags))
        share = 1000 / flags.get("diffusion_steps", 1000)
        label = torch.tensor([2, 4]) if "class_cond" in flags else None

        def check(model: Any) -> tuple[bool, None]:
            ours, theirs = checks.ask(model, T, label), body(checks.inputs(model), T * share, label)
            return checks.near(ours, theirs[:, :3]), None

        return Tried(folder / "ema.pt", check=check)

    def ddim_authors(self) -> Tried:
        folder, body = self.folder(), self.authors.scattered(self.authors.Ddim(), 1)
        folder.mkdir()
        torch.save([{}, {}, 3, 5, body.state_dict()], folder / "ckpt.pth")
        (folder / "ckpt.yml").write_text(self.authors.YAML)

        def check(model: Any) -> tuple[bool, None]:
            return checks.near(checks.ask(model, T), body(checks.inputs(model), T)), None

        return Tried(folder / "ckpt.pth", check=check)

    def single(self, name: str) -> Tried:
        from safetensors.torch import save_file

        base = self.stable_diffusion() if name == "SD" else self.family(name)
        kind = "transformer" if name == "SD3" else "unet"
        plain = layouts.weights(base.path / kind)
        theirs = self.singles.of_sd3(plain) if name == "SD3" else {
            self.singles.authors_name(key): value for key, value in plain.items()
        }  # fmt: skip
        file = self.folder().with_suffix(".safetensors")
        save_file(theirs, file)
        return Tried(file, base.given | {"config": str(base.path)}, base.check)

    def refused(self, change: Callable[[Path], None], build: Callable[[], Tried] | None = None) -> Tried:
        tried = build() if build else self.pixels("DDPMScheduler")
        change(tried.path)
        return Tried(tried.path, tried.given)


UNET, SCHEDULER = "UNet2DModel", "scheduler/scheduler_config.json"
SOLVERS = {"PNDMScheduler": {}, "EulerDiscreteScheduler": {}, "EulerAncestralDiscreteScheduler": {}}
SOLVERS |= {"HeunDiscreteScheduler": {}, "LMSDiscreteScheduler": {}, "KDPM2DiscreteScheduler": {}}
SOLVERS |= {"DEISMultistepScheduler": {}, "UniPCMultistepScheduler": {}, "TCDScheduler": {}}
SOLVERS |= {"DPMSolverMultistepScheduler": {}, "DPMSolverSinglestepScheduler": {"lower_order_final": True}}


def kinds(make: Maker) -> dict[str, Callable[[], Tried]]:
    """Every kind by its name in the table."""
    cosine = {"beta_schedule": "squaredcos_cap_v2"}
    found: dict[str, Callable[[], Tried]] = {
        f"{UNET}, DDPM, epsilon": lambda: make.pixels("DDPMScheduler"),
        f"{UNET}, DDPM, cosine, v_prediction": lambda: make.pixels(
            "DDPMScheduler", cosine | {"prediction_type": "v_prediction"}
        ),
        f"{UNET}, DDIM, sample": lambda: make.pixels("DDIMScheduler", {"prediction_type": "sample"}),
        f"{UNET}, DDIM, zero terminal SNR, v_prediction": lambda: make.pixels(
            "DDIMScheduler",
            {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "leading"},
        ),
        f"{UNET}, DDPM, learned variance": lambda: make.pixels("DDPMScheduler", out_channels=2),
        f"{UNET} of classes, DDPM": lambda: _labelled(make),
    }
    for name, settings in SOLVERS.items():
        found[f"{UNET}, {name.removesuffix('Scheduler')}"] = lambda n=name, s=settings: make.pixels(n, s)
    found |= {
        f"{UNET}, flow matching (Euler)": lambda: make.pixels("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
        f"{UNET}, flow matching (DPM-Solver)": lambda: make.pixels(
            "DPMSolverMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
        ),
        f"{UNET}, EDM": lambda: make.pixels("EDMEulerScheduler"),
        f"{UNET}, EDM, v_prediction": lambda: make.pixels("EDMEulerScheduler", {"prediction_type": "v_prediction"}),
        f"{UNET}, variance exploding": lambda: make.pixels("ScoreSdeVeScheduler"),
        f"{UNET}, consistency model": lambda: make.pixels("CMStochasticIterativeScheduler", {"clip_denoised": False}),
        f"{UNET} of VQ latents, DDIM": make.latents,
        "DiT, classes, DDIM": make.dit,
        "Stable Diffusion 1, DDIM": make.stable_diffusion,
        "Stable Diffusion 2, v_prediction": lambda: make.stable_diffusion(prediction_type="v_prediction"),
    }
    found |= {name: lambda name=name: make.family(name) for name in sorted(make.whole.PIPELINES)}
    found |= {
        "folder of one bare network": lambda: make.layout(layouts.bare),
        "checkpoint-N/unet_ema of a run": lambda: make.layout(layouts.checkpoint),
        "run without a finished pipeline": lambda: make.layout(layouts.run),
        "shards with an index": lambda: make.layout(layouts.sharded),
        ".bin of tensors": lambda: make.layout(layouts.pickled),
        "PEFT's names (base_layer)": lambda: make.layout(layouts.wrapped),
        "pipeline and LoRA": lambda: make.layout(layouts.lora),
        "single .safetensors": lambda: make.layout(layouts.file(".safetensors", lambda one: one)),
        "single .pt of a loop, with ema": lambda: make.layout(
            layouts.file(".pt", lambda one: {"model": {}, "ema": one})
        ),
        "single .pth, shadow_params alone": lambda: make.layout(
            layouts.file(".pth", lambda one: {"shadow_params": list(one.values()), "decay": 0.99})
        ),
        "single file of SD 1 by its authors' names": lambda: make.single("SD"),
        "single file of SDXL by its authors' names": lambda: make.single("SDXL"),
        "single file of SD3 by its authors' names": lambda: make.single("SD3"),
        "guided-diffusion, flags": lambda: make.openai("guided, legacy order"),
        "guided-diffusion of classes, new attention order": lambda: make.openai("guided, new order"),
        "improved-diffusion, 4,000 cosine steps": lambda: make.openai("improved, 4,000 steps"),
        "DDIM authors' ckpt.pth and YAML": make.ddim_authors,
    }
    index = "model_index.json"
    found |= {
        "inpainting UNet (9 channels)": lambda: make.refused(
            lambda path: layouts.settings(path / "unet/config.json", in_channels=9), make.stable_diffusion
        ),
        "FLUX.2-dev (Mistral 3)": lambda: make.refused(
            lambda path: layouts.named(path, text_encoder=["transformers", "Mistral3ForConditionalGeneration"]),
            lambda: make.family("FLUX.2-klein"),
        ),
        "video UNet": lambda: make.refused(
            lambda path: layouts.named(path, unet=["diffusers", "UNet3DConditionModel"])
        ),
        "ControlNet beside a UNet": lambda: make.refused(
            lambda path: layouts.named(path, controlnet=["diffusers", "ControlNetModel"]), make.stable_diffusion
        ),
        "unknown flow scheduler": lambda: make.refused(
            lambda path: layouts.settings(
                path / "scheduler/scheduler_config.json", _class_name="FlowMatchUnknownScheduler"
            )
        ),
        "code of its own": lambda: make.refused(lambda path: (path / "pipeline.py").write_text("print('hello')")),
        "quantised by another library": lambda: make.refused(
            lambda path: layouts.settings(path / "unet/config.json", quantization_config={"quant_method": "hqq"})
        ),
        "adapter still on": lambda: make.refused(lambda path: layouts.rewritten(path / "unet", layouts.with_adapter)),
        "weights missing": lambda: make.refused(
            lambda path: layouts.rewritten(path / "unet", lambda one: dict(list(one.items())[1:]))
        ),
        "pickle that runs a program": lambda: make.refused(_program),
        "folder without settings": lambda: make.refused(
            lambda path: [(path / name).unlink() for name in (index, "unet/config.json")]
        ),
    }
    return found


def _labelled(make: Maker) -> Tried:
    tried = make.pixels("DDPMScheduler", num_class_embeds=5)
    body = make.nets.unet(num_class_embeds=5)
    from diffusers import DDPMScheduler

    return replace(tried, check=lambda model: checks.check_pixels(model, body, DDPMScheduler(), torch.tensor([2, 4])))


def _program(path: Path) -> None:
    file = next((path / "unet").glob("*.safetensors"))
    torch.save({"network": print, **layouts.weights(path / "unet")}, file.with_suffix(".bin"))
    file.unlink()


class Trial:
    """Tries kinds in a folder that is empty."""

    def __init__(self, home: Path) -> None:
        self.home, self.pictures = home, attacking.Pictures(home)
        self.known: list[tuple[str, Any]] = []

    def try_kind(self, kind: str, build_it: Callable[[], Tried]) -> Row:
        """Make a kind, load it as an audit does, compare, and attack it; equal models are attacked once."""
        from leakbench.defenses.pipeline import Pipeline
        from leakbench.models.pretrained.build import build
        from leakbench.runtime.cache.keys import digest_files
        from leakbench.runtime.errors import UsageError

        with torch.random.fork_rng():
            torch.manual_seed(1)
            tried = build_it()
        try:
            defense = Pipeline(path=str(tried.path), **tried.given)
            spec = defense.spec()
            model = build(defense.options, digest_files(defense.files()), torch.device("cpu"))
        except UsageError as error:
            said, planned = str(error), attacking.plan(self.pictures.options(tried.path, tried.given, None))
            more = "" if said == planned else f"; BUT the plan says: {planned}"
            return Row(kind, "refused: " + self._plain(tried.path, said + more))
        assert tried.check is not None, kind
        step, walk = tried.check(model)
        say = {True: "yes", False: "NO", None: ""}
        options = self.pictures.options(tried.path, tried.given, spec)
        objection = self._plain(tried.path, attacking.plan(options))
        loads = f"yes, BUT the plan says: {objection}" if objection else "yes"
        same = next((name for name, other in self.known if checks.alike(model, other)), "")
        if same and "lora" not in options:
            return Row(kind, loads, say[step], say[walk], f"as {same}")
        self.known.append((kind, model))
        came = attacking.run_all(options, self.home / f"run-{len(self.known)}")
        return Row(kind, loads, say[step], say[walk], self._plain(tried.path, str(came)), came.reasons)

    def _plain(self, path: Path, said: str) -> str:
        said = said.replace(f"{path}/", "").replace(str(path), "MODEL").replace(f"{self.home}/", "")
        return said.replace("|", r"\|").replace("\n", " ")


def try_all(home: Path) -> list[Row]:
    """Rows of all kinds, in a folder that is empty."""
    logging_off()
    trial = Trial(home)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers' own, of what these kinds are
        return [trial.try_kind(kind, build_it) for kind, build_it in kinds(Maker(home)).items()]


def logging_off() -> None:
    import diffusers
    import transformers

    for one in (diffusers, transformers):
        one.utils.logging.set_verbosity_error()
        one.utils.logging.disable_progress_bar()


def render(rows: list[Row]) -> str:
    head = [
        "| kind | loads | eps is the own step's | five moves are DDIM's | all attacks run |",
        "|---|---|---|---|---|",
    ]
    why: dict[str, set[str]] = {}
    for row in rows:
        for name, reason in row.reasons.items():
            why.setdefault(reason, set()).add(f"`{name}`")
    said = [f"- {reason}: {', '.join(sorted(names))}" for reason, names in sorted(why.items())]
    notes = ["", "Attacks that do not apply, and their reasons:", "", *said, "", attacking.describe_small()]
    return "\n".join([BEGIN, *head, *(row.line() for row in rows), *notes, END])


def main() -> None:
    import os

    sys.path.remove(str(HERE))  # in it lies a folder that is named as the library is
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["LEAKBENCH_CACHE"] = f"{temporary}/cache"
        made = render(try_all(Path(temporary)))
    page = PAGE.read_text()
    PAGE.write_text(page[: page.index(BEGIN)] + made + page[page.index(END) + len(END) :])


if __name__ == "__main__":
    sys.exit(main())
