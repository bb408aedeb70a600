"""What lets TCP connections in: nftables' and iptables' text, written and read. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Range = tuple[int, int]

LAST_PORT = 65535
RANGE = re.compile(r"(\d+)(?:-(\d+))?")
FAMILIES = {4: "ip", 6: "ip6"}
LEGACY_PROGRAMS = {"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}
# In nft's own words, and as a target of iptables that nft does not translate.
REFUSING = ("drop", "reject")
# Statements that let every packet go on to the next one.
PASSING = ("counter", "log", "limit")


def parse_ports(texts: Iterable[str]) -> list[Range]:
    """Ranges in order, those that touch each other as one.

    Raises:
        ValueError: A text is no port and no range.
    """
    found = []
    for text in texts:
        match = RANGE.fullmatch(text.strip())
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= low <= high <= LAST_PORT:
            raise ValueError(f"'{text}' is no port; write it like 10809 or 49152-49215")
        found.append((low, high))
    merged: list[Range] = []
    for low, high in sorted(found):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def parse_sources(texts: Iterable[str]) -> list[Network]:
    """Networks in order, IPv4 first, those inside another left out.

    Raises:
        ValueError: A text is no address and no network.
    """
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text.strip()))
        except ValueError as error:
            raise ValueError(
                f"'{text}' is no address and no network ({error}); "
                "write it like 192.0.2.11 or 192.0.2.0/24"
            ) from None
    four = [one for one in networks if isinstance(one, ipaddress.IPv4Network)]
    six = [one for one in networks if isinstance(one, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six)]


def written(network: Network) -> str:
    """A network as people write it: a single address without its length."""
    whole = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if whole else str(network)


def spans(ports: Sequence[Range], to: str = "-") -> list[str]:
    """Ranges as texts."""
    return [str(low) if low == high else f"{low}{to}{high}" for low, high in ports]


def script(table: str, ports: Sequence[Range], sources: Sequence[Network]) -> str:
    """What nft reads: the table anew, in one transaction, whether it is there or not."""
    to = f"tcp dport {{ {', '.join(spans(ports))} }}"
    lines = [
        f"table inet {table}",
        f"delete table inet {table}",
        f"table inet {table} {{",
        "    chain input {",
        "        type filter hook input priority filter - 10; policy accept;",
        '        iif "lo" accept',
        # Answers to what the host itself asked come to ports of this range, too.
        "        tcp flags & (fin | syn | rst | ack) != syn accept",
    ]
    for version, family in FAMILIES.items():
        named = [written(one) for one in sources if one.version == version]
        if named:
            lines.append(f"        {to} {family} saddr {{ {', '.join(named)} }} accept")
    return "\n".join([*lines, f"        {to} drop", "    }", "}", ""])


def refuses(rule: Mapping[str, Any]) -> bool:
    """Whether a rule drops or rejects whatever gets as far."""
    statements = [one for one in rule["expr"] if not set(one) & set(PASSING)]
    if len(statements) != 1:
        return False
    (name, value), *_ = statements[0].items()
    target = str(value.get("name", "")) if name == "xt" and isinstance(value, dict) else name
    return target.lower() in REFUSING


def reasons(ruleset: Sequence[Mapping[str, Any]], own: str) -> list[tuple[str, str, str, str]]:
    """Family, table, chain and reason of every chain of others that drops what comes in."""
    rules: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for entry in ruleset:
        if "rule" in entry:
            rule = entry["rule"]
            rules[rule["family"], rule["table"], rule["chain"]] = rule
    found = []
    for entry in ruleset:
        chain = entry.get("chain", {})
        if chain.get("hook") != "input" or chain["table"] == own:
            continue
        place = (chain["family"], chain["table"], chain["name"])
        if chain.get("policy") == "drop":
            found.append((*place, "its policy is drop"))
        elif place in rules and refuses(rules[place]):
            found.append((*place, "its last rule refuses what no other rule took"))
    return found


def legacy_reason(listing: str) -> str:
    """Why the chain INPUT of the older iptables drops what comes in; empty where it does not."""
    lines = listing.splitlines()
    if "-P INPUT DROP" in lines:
        return "its policy is DROP"
    last = lines[-1] if lines else ""
    if re.match(r"-A INPUT -j (DROP|REJECT)\b", last):
        return "its last rule refuses what no other rule took"
    return ""


def manager(ruleset: Sequence[Mapping[str, Any]], family: str, table: str) -> str:
    """Who looks after a table: firewalld, ufw, iptables, or nft itself."""
    if table == "firewalld":
        return "firewalld"
    chains = [one["chain"] for one in ruleset if "chain" in one]
    if any(
        one["table"] == table and one["family"] == family and one["name"].startswith("ufw-")
        for one in chains
    ):
        return "ufw"
    return "iptables" if table == "filter" and family in LEGACY_PROGRAMS else "nft"


def allow(
    who: str, place: tuple[str, str, str], ports: Sequence[Range], sources: Sequence[Network]
) -> str:
    """Commands that let the senders through there."""
    family, table, chain = place
    senders = [one for one in sources if FAMILIES[one.version] == family] or list(sources)
    if who == "firewalld":
        rules = [
            f'firewall-cmd --permanent --add-rich-rule=\'rule family="ipv{one.version}" source '
            f'address="{written(one)}" port port="{span}" protocol="tcp" accept\''
            for one in senders
            for span in spans(ports)
        ]
        return "; ".join([*rules, "firewall-cmd --reload"])
    if who == "ufw":
        span = ",".join(spans(ports, ":"))
        return "; ".join(
            f"ufw allow proto tcp from {written(one)} to any port {span}" for one in senders
        )
    if who.startswith("iptables"):
        program = who if family == "ip" else who.replace("iptables", "ip6tables")
        return (
            f"{program} -I {chain} -p tcp -s {','.join(written(one) for one in senders)} "
            f"-m multiport --dports {','.join(spans(ports, ':'))} -j ACCEPT"
        )
    to = f"tcp dport {{ {', '.join(spans(ports))} }} accept"
    return "; ".join(
        f"nft 'insert rule {family} {table} {chain} {FAMILIES[version]} saddr "
        f"{{ {', '.join(written(one) for one in senders if one.version == version)} }} {to}'"
        for version in sorted({one.version for one in senders})
    )


def drops(
    ruleset: Sequence[Mapping[str, Any]],
    legacy: Mapping[str, str],
    own: str,
    ports: Sequence[Range],
    sources: Sequence[Network],
) -> list[dict[str, str]]:
    """Chains of others that a sender's packets may not pass.

    Args:
        ruleset: What `nft -j list ruleset` says.
        legacy: Rules of the chain INPUT of the older iptables, by family.
        own: Name of the lab's own table.
        ports: That are to be reached.
        sources: The senders.
    """
    families = {"inet", *(FAMILIES[one.version] for one in sources)} if sources else set()
    found = []
    for *where, why in reasons(ruleset, own):
        family, table, chain = where
        if family in families:
            who = manager(ruleset, family, table)
            command = allow(who, (family, table, chain), ports, sources)
            place = f"table {family} {table}, chain {chain}"
            found.append({"where": place, "why": why, "allow": command})
    for family, listing in legacy.items():
        why = legacy_reason(listing)
        if why and family in families:
            command = allow("iptables-legacy", (family, "filter", "INPUT"), ports, sources)
            place = f"{LEGACY_PROGRAMS[family]}, chain INPUT"
            found.append({"where": place, "why": why, "allow": command})
    return found
