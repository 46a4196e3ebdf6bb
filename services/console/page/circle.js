// The geometry of the Chord circle: places as BigInt, angles clockwise from the top. Pure.

import { byName, list, number, place, record } from "./values.js";

const FINE = 1n << 48n;

/** The angle of a place on a circle of 2^bits, in radians, 0 at the top. */
export function angle(at, bits) {
  const size = 1n << BigInt(Math.min(64, Math.max(1, Math.round(number(bits, 64)))));
  const parts = Number(((at % size) * FINE) / size);
  return (parts / Number(FINE)) * 2 * Math.PI;
}

/** The point at an angle and a radius around a centre. */
export const point = (centre, radius, turn) => ({
  x: centre + Math.sin(turn) * radius,
  y: centre - Math.cos(turn) * radius,
});

/** An SVG path along the circle, clockwise from one angle to another; whole when they are equal. */
export function arc(centre, radius, from, to) {
  let sweep = to - from;
  while (sweep <= 1e-9) sweep += 2 * Math.PI;
  const start = point(centre, radius, from);
  if (sweep > 2 * Math.PI - 1e-6) {
    const far = point(centre, radius, from + Math.PI);
    return (
      `M${start.x} ${start.y}A${radius} ${radius} 0 0 1 ${far.x} ${far.y}` +
      `A${radius} ${radius} 0 0 1 ${start.x} ${start.y}`
    );
  }
  const end = point(centre, radius, to);
  return `M${start.x} ${start.y}A${radius} ${radius} 0 ${sweep > Math.PI ? 1 : 0} 1 ${end.x} ${end.y}`;
}

/** A chord between two angles, bent towards the middle. */
export function bent(centre, radius, from, to) {
  const [a, b] = [point(centre, radius, from), point(centre, radius, to)];
  const [x, y] = [(a.x + b.x) / 2, (a.y + b.y) / 2];
  const pull = 0.45;
  return `M${a.x} ${a.y}Q${x + (centre - x) * pull} ${y + (centre - y) * pull} ${b.x} ${b.y}`;
}

/** Angles moved apart so that neighbours are at least `least` from each other, in the same order. */
export function spread(angles, least) {
  const many = angles.length;
  const order = angles.map((turn, index) => ({ turn, index })).sort((a, b) => a.turn - b.turn);
  const gap = Math.min(least, (2 * Math.PI * 0.98) / Math.max(1, many));
  for (let round = 0; round < 60; round += 1) {
    let moved = false;
    for (let at = 0; at < many && many > 1; at += 1) {
      const [one, other] = [order[at], order[(at + 1) % many]];
      const apart = other.turn - one.turn + (at + 1 === many ? 2 * Math.PI : 0);
      if (apart < gap - 1e-6) {
        const push = (gap - apart) / 2;
        one.turn -= push;
        other.turn += push;
        moved = true;
      }
    }
    if (!moved) break;
  }
  const out = Array.from({ length: many });
  for (const each of order) out[each.index] = each.turn;
  return out;
}

/** What the circle is made of: its nodes in order with place, angle, interval and fingers. */
export function ring(nodes) {
  const bits = nodes.reduce((most, node) => Math.max(most, number(record(node.view).bits)), 0);
  const members = [];
  for (const node of nodes) {
    const view = record(node.view);
    const at = place(record(view.node).id) ?? place(node.name);
    if (at === null) continue;
    members.push({ node, at, view });
  }
  const widest = members.reduce((most, each) => (each.at > most ? each.at : most), 0n);
  const size = Math.min(
    64,
    bits > 0 ? Math.max(bits, widest.toString(2).length) : widest.toString(2).length,
  );
  members.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : byName(a.node.key, b.node.key)));
  for (const each of members) {
    each.angle = angle(each.at, size);
    const before = place(record(each.view.ready).after) ?? place(record(each.view.predecessor).id);
    each.after = before;
    each.from = before === null ? null : angle(before, size);
  }
  return { bits: size, members };
}

/** The fingers of a member: [place, first index, how many], malformed ones left out. */
export function fingers(member) {
  return list(member.view.fingers)
    .filter(Array.isArray)
    .map(([first, many, peer]) => ({
      first: number(first),
      many: number(many, 1),
      at: place(record(peer).id),
    }))
    .filter((each) => each.at !== null && each.at !== member.at);
}
