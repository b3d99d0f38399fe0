"""Compile the encoder's kernels by embedding one window; `make` runs it once."""

from snow_assets.quality import encoder as encoders
from snow_assets.recipe import SMOKE


def compile_kernels() -> None:
    """Embed a word with SMOKE's annotator config."""
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
