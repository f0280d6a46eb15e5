"""The plugs: storages and what else touches the outside."""
