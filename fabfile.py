"""The tasks of `./lab`; each room of tools/orrery brings its own."""

from __future__ import annotations

from invoke.collection import Collection

from orrery.bench import tasks as bench_tasks
from orrery.drill import tasks as drill_tasks
from orrery.guest import tasks as guest_tasks
from orrery.lab import tasks as lab_tasks
from orrery.mnist import tasks as mnist_tasks
from orrery.report import tasks as report_tasks
from orrery.vm import tasks as vm_tasks
from orrery.whisk import tasks as whisk_tasks

ns = Collection(
    lab_tasks.up,
    lab_tasks.down,
    lab_tasks.verify,
    lab_tasks.status,
    lab_tasks.logs,
    vm_tasks.ssh,
    vm_tasks.console,
    lab_tasks.test,
    lab_tasks.smoke,
    report_tasks.report,
    lab_tasks.completion,
)
ns.add_collection(Collection.from_module(bench_tasks, name="bench"))
ns.add_collection(Collection.from_module(drill_tasks, name="drill"))
ns.add_collection(Collection.from_module(guest_tasks, name="guest"))
ns.add_collection(Collection.from_module(mnist_tasks, name="mnist"))
ns.add_collection(Collection.from_module(whisk_tasks, name="whisk"))
