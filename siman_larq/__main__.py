"""`python -m siman_larq TrainSiMaN<Model> key=value ...`; without arguments it lists the tasks."""

from siman_larq.cli import tasks

if __name__ == "__main__":
    tasks(prog_name="python -m siman_larq")
