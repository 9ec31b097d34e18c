"""The DAG, the recipes, the local runner and the command line."""
