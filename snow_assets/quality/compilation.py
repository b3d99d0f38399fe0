"""Compile the encoder's kernels, by one window: `make` does, once per installation."""

from snow_assets.quality import encoder as encoders
from snow_assets.recipe import SMOKE


def compile_kernels() -> None:
    """Read a word as SMOKE's annotator reads a text."""
    recipe = SMOKE.annotator
    encoder = encoders.load(
        recipe.encoder,
        pooling=recipe.pooling,
        window_tokens=recipe.window_tokens,
        precision=recipe.precision,
        batch_tokens=recipe.batch_tokens,
        threads=1,
    )
    [windows] = encoder.windows(["word"])
    list(encoder.embed(windows))


if __name__ == "__main__":
    compile_kernels()
