"""Compiled programs, kept between runs: a second start is spared the first one's compilation."""

from __future__ import annotations

from wmt_transformer.files import cache_folder


def use_compilation_cache() -> None:
    """Keeps what JAX compiles in the cache folder."""
    import jax

    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
