"""Write each lab's notebook and output anew: ``python labs/make.py``."""

from pathlib import Path

from accelsim.study.labs import labs, notebook, output


def main() -> None:
    for lab in labs():
        script = Path(lab.script).read_text(encoding="utf-8")
        lab.script.with_suffix(".ipynb").write_text(notebook(script), encoding="utf-8", newline="\n")
        lab.script.with_suffix(".out").write_text(output(lab), encoding="utf-8", newline="\n")
        print(f"{lab.folder}: lab.ipynb, lab.out")


if __name__ == "__main__":
    main()
