"""What comes before JAX is asked for devices: is the driver new enough; compiled programs are kept between runs."""

from __future__ import annotations

from wmt_transformer.cuda import check_driver
from wmt_transformer.files import cache_folder


def use_compilation_cache() -> None:
    """Keeps what JAX compiles in the cache folder: a second start is spared the first one's compilation.

    Where the caller gave JAX another folder, it stays. Raises UserError where the NVIDIA driver is too old for the CUDA
    that is installed.
    """
    check_driver()
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)  # short sentences' programs too
