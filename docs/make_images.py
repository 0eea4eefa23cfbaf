"""Draw the pictures of the documentation and write its gallery: python docs/make_images.py [SCENARIO...].

Every picture is a function of `mcnet.plot` of one ready scenario, which is run into `data/runs` if it was not.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcnet_analysis.draw.style import svg

import mcnet
from mcnet import files

DOCS = Path(__file__).parent
RUNS = DOCS.parent / "data" / "runs"


@dataclass(frozen=True)
class Picture:
    """One figure: the scenario, the function of mcnet.plot, what it shows."""

    scenario: str
    figure: str
    title: str
    caption: str
    options: dict[str, Any] = field(default_factory=dict)
    file: str = ""

    @property
    def path(self) -> Path:
        """Of the picture."""
        return DOCS / "images" / (self.file or f"{self.scenario}-{self.figure}.png")

    @property
    def call(self) -> str:
        """What to type in Python."""
        run = f'"data/runs/{self.scenario}"'
        options = [f"{name}={json.dumps(value)}" for name, value in self.options.items()]
        return f"mcnet.plot.{self.figure}({', '.join([run, *options])})"


PICTURES = (
    Picture(
        "quickstart",
        "depth",
        "Order, edge and chaos",
        "Correlation of two inputs against depth; below, its distance from the limit times the width, on the predicted "
        "coefficient of 1/M.",
        {"observable": "c"},
        "signal.svg",
    ),
    Picture(
        "quickstart",
        "width",
        "One quantity against 1/M",
        "Correlation at the last layer of chaotic networks: limit, predicted slope, fit with its error, residuals.",
        {"observable": "c", "point": {"sigma_w2": 3.0}},
    ),
    Picture(
        "order_chaos",
        "order_chaos",
        "The order-chaos map",
        "Correlation after 50 layers over the plane of the variances, with the critical line (Poole et al. 2016).",
    ),
    Picture(
        "gradient_explosion",
        "gradients",
        "Vanishing and exploding gradients",
        "Squared norms of the back-propagated error against depth, with mean field (Schoenholz et al. 2017).",
    ),
    Picture(
        "ntk_finite_width",
        "kernel_coefficients",
        "The tangent kernel to first order in 1/M",
        "Fitted coefficients beside the prediction, and beside what independence of gradients and weights would give.",
    ),
    Picture(
        "ntk_depth_to_width",
        "kernel_spread",
        "The tangent kernel of deep networks is random",
        "Its second moment depends on depth/width alone; the line is the exact law (Hanin, Nica 2019).",
    ),
    Picture(
        "fim_outliers",
        "fisher_spectrum",
        "Ten outputs, ten outliers",
        "Eigenvalues of the Fisher matrix: a bulk of small ones, and as many large ones as outputs.",
    ),
    Picture(
        "bn_gradient_growth",
        "batch_norm_growth",
        "Batch normalisation makes gradients explode",
        "Growth of the squared gradient per layer against the number of inputs in the batch (Yang et al. 2019).",
    ),
    Picture(
        "catapult",
        "training_loss",
        "The catapult",
        "Loss of two-layer linear networks below the bound and above it (Lewkowycz et al. 2020).",
    ),
    Picture(
        "catapult",
        "catapult",
        "The height of the catapult",
        "Peak of the loss, 2 eta^2 E/n, against the width, on the law of the reduced map.",
    ),
    Picture(
        "lazy_limit",
        "training_powers",
        "How lazy wide networks are",
        "Distance from the linear dynamics and change of the kernel: 1/M, unless the activation has a kink.",
    ),
    Picture(
        "learning_rate_boundary",
        "learning_rate_boundaries",
        "Three boundaries of the learning rate",
        "Instability begins at 2/lambda_max up to 1/M; divergence is another matter.",
    ),
    Picture(
        "online_isometry",
        "online_boundary",
        "Online training: the 1/L law",
        "Largest stable learning rate with one new input a step, of isometric networks of L matrices (Hayase, Karakida "
        "2021).",
    ),
    Picture(
        "coordinate_check",
        "training_powers",
        "The coordinate check",
        "Nothing depends on the width in the maximal-update parametrisation (Yang, Hu 2021).",
    ),
    Picture(
        "linear_products",
        "spectrum",
        "Products of random matrices",
        "Singular values of linear networks on the Fuss-Catalan laws.",
    ),
    Picture(
        "dynamical_isometry",
        "spectrum_depth",
        "Dynamical isometry",
        "Singular values of the Jacobian stay near 1 at any depth with orthogonal weights, not with Gaussian ones.",
    ),
    Picture(
        "jacobian_plane",
        "spectrum_map",
        "Spectra over the plane of the variances",
        "Mean and relative variance of the squared singular values; the mean is 1 on the critical line.",
    ),
    Picture(
        "adaptive",
        "sampling",
        "As many networks as the accuracy needs",
        "Networks at each width, chosen for the error of one coefficient, and the error after each round.",
    ),
    Picture(
        "universality",
        "universality",
        "Every architecture: measured over predicted",
        "Lengths, correlations, gradients and tangent kernels of eleven architectures over the limit with its term of "
        "1/M (full markers) or the limit alone (open), from the first layer (light) to the last (dark).",
        file="universality.png",
    ),
)


def draw(picture: Picture) -> None:
    """Run the scenario if need be, and save the figure."""
    run = RUNS / picture.scenario
    if not any((run / name).exists() for name in ("dataset.h5", "members.json")):
        mcnet.run(picture.scenario, run, quiet=True)
    figure = getattr(mcnet.plot, picture.figure)(run, **picture.options)
    if picture.path.suffix == ".svg":
        files.write(picture.path, svg(figure, picture.path.stem) + "\n")
    else:
        figure.savefig(picture.path, dpi=110)


def gallery() -> str:
    """The page of all pictures, each with the commands that make it."""
    parts = [
        "# Gallery",
        "Every figure is one function of `mcnet.plot` and one ready scenario; `mcnet report data/runs/NAME` draws it, "
        "too, and `--figures pdf` writes all figures of a report as files. `mcnet scenarios` lists all scenarios.",
    ]
    for picture in PICTURES:
        parts += [
            f"## {picture.title}",
            f"![{picture.title}](images/{picture.path.name})",
            picture.caption,
            f"    mcnet run {picture.scenario} --out data/runs/{picture.scenario}",
            f"```python\n{picture.call}\n```",
        ]
    return "\n\n".join(parts) + "\n"


def main(scenarios: list[str]) -> None:
    for picture in PICTURES:
        if not scenarios or picture.scenario in scenarios:
            print(picture.scenario, picture.figure, flush=True)
            draw(picture)
    (DOCS / "gallery.md").write_text(gallery(), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
