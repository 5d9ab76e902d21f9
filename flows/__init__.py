"""Thin Prefect wrappers with verb names around what `pipelines` does; the only package that knows Prefect."""
