"""What people and programs see of a run: text, tables, figures, timelines and pages.

Nothing is imported here, so that a command pays only for what it shows: ``text`` needs rich, ``style`` and ``figures``
need matplotlib (its only home), ``scale``, ``naming``, ``tabular``, ``perfetto`` and ``html`` need neither.
"""
