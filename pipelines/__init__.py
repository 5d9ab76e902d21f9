"""Index time: read, parse, chunk and index what an organisation brings; knows nothing of Prefect."""
