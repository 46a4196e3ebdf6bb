// Where things are drawn on the floor plan and in the overlay's graph. Pure: nodes and a width in,
// places out; it runs again only when nodes come, go or move, or the width changes.

import { byName, clamp, list, record, text } from "./values.js";
import { roleOf, systems } from "./state.js";

/** The layer of an overlay's node, from the top. */
export function layerOf(node) {
  const role = roleOf(node);
  return role === "leader" ? 0 : role.replace("-", "_") === "team_leader" ? 1 : 2;
}

/** Places in rows of at most `most`, each row centred in `width`. */
function rows(many, most, width, stepX, stepY, top) {
  const places = [];
  const lines = Math.ceil(many / most);
  for (let line = 0; line < lines; line += 1) {
    const here = Math.min(most, Math.ceil((many - places.length) / (lines - line)));
    for (let at = 0; at < here; at += 1) {
      places.push({ x: width / 2 + (at - (here - 1) / 2) * stepX, y: top + line * stepY });
    }
  }
  return places;
}

/** A group's own layout: its size and the places of its nodes in it. */
function groupOf(system, nodes, unit, widest) {
  const step = unit * 6.2;
  const high = unit * 6.4;
  const top = unit * 4.9;
  const places = new Map();
  const fit = Math.max(2, Math.floor((widest - unit) / step));
  let [width, height] = [0, 0];
  // Who keeps the list of the others is none of them: it stands in their middle.
  const isRegistry = (node) => node.role.endsWith("registry");
  const apart = nodes.filter(isRegistry);
  const around = apart.length === 1 ? nodes.filter((node) => !isRegistry(node)) : nodes;
  const ringRadius = Math.max(unit * 5.4, (around.length * step) / (2 * Math.PI));
  if (system === "overlay" && nodes.length <= 20) {
    const layers = [0, 1, 2].map((each) => nodes.filter((node) => layerOf(node) === each));
    const most = Math.min(fit, Math.max(...layers.map((layer) => layer.length)));
    width = Math.max(2, most) * step + unit;
    let y = top;
    for (const layer of layers.filter((each) => each.length > 0)) {
      const spots = rows(layer.length, most, width, step, high, y);
      layer.forEach((node, index) => places.set(node.key, spots[index]));
      y = spots.at(-1).y + high;
    }
    height = y - high + unit * 3.6;
  } else if (
    nodes.length >= 3 &&
    nodes.length <= 12 &&
    (ringRadius + step / 2) * 2 + unit <= widest
  ) {
    width = (ringRadius + step / 2) * 2 + unit;
    height = top + ringRadius * 2 + unit * 3.6;
    if (around !== nodes) {
      places.set(apart[0].key, { x: width / 2, y: top + ringRadius - unit * 0.6 });
    }
    around.forEach((node, index) => {
      const angle = (index / around.length) * 2 * Math.PI - Math.PI / 2;
      places.set(node.key, {
        x: width / 2 + Math.cos(angle) * ringRadius,
        y: top + ringRadius + Math.sin(angle) * ringRadius,
      });
    });
  } else {
    const most = Math.min(fit, Math.max(2, Math.ceil(Math.sqrt(nodes.length * 1.8))));
    width = Math.max(2, Math.min(most, nodes.length)) * step + unit;
    const spots = rows(nodes.length, most, width, step, high, top);
    nodes.forEach((node, index) => places.set(node.key, spots[index]));
    height = spots.at(-1).y + unit * 3.6;
  }
  return { system, width, height, places, many: nodes.length };
}

/** Boxes set in lines from left to right; answers the whole's size and gives each its x and y. */
function flow(boxes, width, gap, left, top) {
  let [x, y, tall, wide] = [left, top, 0, 0];
  for (const box of boxes) {
    if (x > left && x + box.width > width - left + 0.5) {
      [x, y, tall] = [left, y + tall + gap, 0];
    }
    [box.x, box.y] = [x, y];
    x += box.width + gap;
    wide = Math.max(wide, x - gap + left);
    tall = Math.max(tall, box.height);
  }
  return { width: wide, height: y + tall };
}

/** The floor plan: rooms of hosts, groups of systems in them, a place for every node. */
export function plan(state, width, unit) {
  const hosts = new Map();
  for (const node of state.nodes.values()) {
    if (!hosts.has(node.host)) hosts.set(node.host, []);
    hosts.get(node.host).push(node);
  }
  const gap = unit * 1.2;
  const order = systems(state);
  const rooms = [...hosts]
    .sort(([a], [b]) => byName(a, b))
    .map(([host, nodes]) => {
      const groups = order
        .map((system) => nodes.filter((node) => node.system === system))
        .filter((each) => each.length > 0)
        .map((each) =>
          groupOf(
            each[0].system,
            each.sort((a, b) => byName(a.name, b.name)),
            unit,
            width - 2 * gap,
          ),
        );
      const size = flow(groups, width, gap, gap, unit * 3.4);
      return { host, groups, width: size.width, height: size.height + gap, many: nodes.length };
    });
  const whole = flow(rooms, width, gap * 1.4, 0, 0);
  stretch(rooms, width, gap);
  const places = new Map();
  for (const room of rooms) {
    for (const group of room.groups) {
      for (const [key, spot] of group.places) {
        places.set(key, { x: room.x + group.x + spot.x, y: room.y + group.y + spot.y });
      }
    }
  }
  return { width, height: Math.max(whole.height, unit * 8), rooms, places };
}

/** Lets the rooms of a line fill its width, all as high as the highest, their groups in the middle. */
function stretch(rooms, width, gap) {
  const lines = new Map();
  for (const room of rooms) {
    if (!lines.has(room.y)) lines.set(room.y, []);
    lines.get(room.y).push(room);
  }
  for (const line of lines.values()) {
    const used = line.reduce((sum, room) => sum + room.width, 0) + (line.length - 1) * gap * 1.4;
    const extra = Math.max(0, width - used) / line.length;
    const high = Math.max(...line.map((room) => room.height));
    line.forEach((room, index) => {
      room.x += extra * index;
      room.width += extra;
      room.height = high;
      const tops = new Map();
      for (const group of room.groups) {
        if (!tops.has(group.y)) tops.set(group.y, []);
        tops.get(group.y).push(group);
      }
      for (const row of tops.values()) {
        const each =
          (room.width -
            2 * gap -
            row.reduce((sum, group) => sum + group.width, 0) -
            gap * (row.length - 1)) /
          row.length;
        row.forEach((group, at) => {
          group.x += each * at;
          for (const spot of group.places.values()) spot.x += each / 2;
          group.width += each;
        });
      }
      if (tops.size === 1) {
        for (const group of room.groups) {
          const spare = high - gap - group.y;
          for (const spot of group.places.values()) spot.y += Math.max(0, spare - group.height) / 2;
          group.height = Math.max(group.height, spare);
        }
      }
    });
  }
}

/** The overlay's graph: A above, then leaders of teams, then workers; edges from neighbours. */
export function graph(nodes, width, unit) {
  const layers = [0, 1, 2].map((each) => nodes.filter((node) => layerOf(node) === each));
  const most = Math.max(1, Math.floor(width / (unit * 7.6)));
  const widest = Math.max(1, ...layers.map((layer) => Math.min(layer.length, most)));
  const step = clamp(width / widest, unit * 7.2, unit * 15);
  const card = { width: Math.min(unit * 11, step - unit * 0.8), height: unit * 7.2 };
  const places = new Map();
  let y = card.height / 2 + unit * 1.6;
  for (const layer of layers.filter((each) => each.length > 0)) {
    const wide = layer.length <= most ? clamp(width / layer.length, step, step * 1.6) : step;
    const spots = rows(
      layer.length,
      most,
      width,
      layer.length === 1 ? step : wide,
      card.height + unit * 1.6,
      y,
    );
    byParent(layer, nodes).forEach((node, index) => places.set(node.key, spots[index]));
    y = spots.at(-1).y + card.height + unit * 4.2;
  }
  const byNames = new Map(nodes.map((node) => [node.name, node]));
  const edges = new Map();
  for (const node of nodes) {
    for (const each of list(record(node.view).neighbours)) {
      if (!Array.isArray(each)) continue;
      const other = byNames.get(text(each[0]));
      if (!other || other === node) continue;
      const id = [node.name, other.name].sort(byName).join("–");
      edges.set(id, [node.name < other.name ? node : other, node.name < other.name ? other : node]);
    }
  }
  return { width, height: y - unit * 4.2 + unit * 0.8 - card.height / 2, card, places, edges };
}

/** A layer's nodes in the order of those above them, so that fewer edges cross. */
function byParent(layer, nodes) {
  const order = new Map(nodes.map((node) => [node.name, node]));
  const parent = (node) =>
    list(record(node.view).neighbours)
      .map((each) => text(list(each)[0]))
      .filter((name) => order.has(name) && layerOf(order.get(name)) < layerOf(node))
      .sort(byName);
  const weight = (node) => {
    const names = parent(node);
    return names.reduce((sum, name) => sum + name.charCodeAt(0), 0) / (names.length || 1);
  };
  return [...layer].sort((a, b) => weight(a) - weight(b) || byName(a.name, b.name));
}
