"""Which name of the catalogue does what."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.simulation.soak import faults, people, wire
from tests.simulation.soak.catalogue import CATALOGUE
from tests.simulation.soak.drawn import Trouble
from tests.simulation.soak.faults import Act, on_platform, on_wire, plain, plainly
from tests.simulation.soak.wire import How

if TYPE_CHECKING:
    from tests.simulation.soak.world import Soak


def at_the_worst_moment(act: Act) -> Act:
    """When a request of the guard is about to arrive, it comes too late by a hair."""

    def how(soak: Soak, trouble: Trouble) -> How:
        async def do() -> None:
            soak.aside(act(soak, trouble))
            await asyncio.sleep(0.5 * trouble.share)

        return wire.first(do)

    return on_wire(how)


ACTS: Mapping[str, Act] = {
    "lost before": on_wire(plainly(wire.lost_before)),
    "lost after": on_wire(plainly(wire.lost_after)),
    "late": on_wire(faults.slowly),
    "late answer": on_wire(faults.slowly_back),
    "old list": on_wire(faults.of_a_while_ago, for_long=True),
    "twice": on_wire(plainly(wire.twice)),
    "cut short": on_wire(plainly(wire.cut_short)),
    "no page": on_wire(plainly(wire.no_page)),
    "answers 503": on_wire(plainly(wire.says(503)), for_long=True),
    "answers 500": on_wire(plainly(wire.says(500))),
    "answers 408": on_wire(plainly(wire.says(408))),
    "answers 429": on_wire(faults.in_haste),
    "silence": on_wire(plainly(wire.lost_before), for_long=True),
    "cut off": plain(faults.cut_off),
    "list empty": on_platform(list_machines="empty", for_long=True),
    "list without one": on_platform(list_machines="one missing", for_long=True),
    "list truncated": on_platform(list_machines="truncated", for_long=True),
    "old machine": on_platform(get_machine="old"),
    "update 408 after effect": on_platform(update="408-after-effect"),
    "update 408": on_platform(update="408"),
    "update 412": on_platform(update="412"),
    "update 422": on_platform(update="422"),
    "update 409 concurrent": on_platform(update="409-concurrent"),
    "update host disabled": on_platform(update="host-disabled"),
    "update stuck": on_platform(update="stuck"),
    "update lost": on_platform(update="lost"),
    "pull fails": on_platform(pull="fails"),
    "wait 408": on_platform(wait="408"),
    "lease 503": on_platform(lease="503"),
    "lease 408 after effect": on_platform(lease="408-after-effect"),
    "lease 409": on_platform(lease="409"),
    "row create 504 after effect": on_platform(release_create="504-after-effect"),
    "row create lost": on_platform(release_create="lost"),
    "row create 422": on_platform(release_create="422"),
    "row patch 504 after effect": on_platform(release_patch="504-after-effect"),
    "graphql errors": on_platform(graphql="errors", for_long=True),
    "graphql null": on_platform(graphql="null", for_long=True),
    "host unreachable": plain(faults.host_unreachable),
    "image pruned": plain(faults.image_pruned),
    "tag moved": plain(faults.tag_moved),
    "token revoked": plain(faults.token_revoked),
    "no metrics": plain(faults.no_metrics),
    "process dies": plain(faults.process_dies),
    "falls asleep": faults.falls_asleep,
    "everything fails": plain(faults.everything_fails),
    "everything is slow": plain(faults.everything_is_slow),
    "killed before": on_wire(faults.dying(after=False)),
    "killed after": on_wire(faults.dying(after=True)),
    "killed": plain(faults.killed),
    "clock forward": plain(faults.clock_forward),
    "clock back": plain(faults.clock_back),
    "disk full": plain(faults.disk_full),
    "competing deploy": plain(people.competing_deploy),
    "deploy at the worst moment": at_the_worst_moment(people.competing_deploy),
    "deploy that dies": plain(people.deploy_that_dies),
    "ships it again": plain(people.ship_again),
    "orphan row": plain(people.orphan_row),
    "changes one": plain(people.change_one),
    "changes one at the worst moment": at_the_worst_moment(people.change_one),
    "lease cleared": people.clear_lease,
    "holds a machine": plain(people.hold_machine),
    "stops one": plain(people.stop_machine),
    "restarts one": plain(people.restart_machine),
    "destroys one": people.destroy_machine,
    "creates one": plain(people.create_machine),
    "cordons one": plain(people.cordon_machine),
    "pauses": plain(people.pause_guard),
    "holds": plain(people.hold_guard),
    "rolls back by hand": plain(people.roll_back_by_hand),
    "answers": people.answer_question,
}
assert ACTS.keys() == CATALOGUE.keys()
