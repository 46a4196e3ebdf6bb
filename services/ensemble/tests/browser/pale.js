// The body of a function that the tests run in the page: texts that are too pale to be read.
const LEAST = 4.5;
const numbers = (colour) => {
  const [a, b, c, alpha = 1] = (colour.match(/-?[\d.]+(e-?\d+)?/g) ?? []).map(Number);
  return colour.startsWith("color(") ? [a * 255, b * 255, c * 255, alpha] : [a, b, c, alpha];
};
const over = (above, below) => {
  const [a, b] = [above[3], below];
  return [0, 1, 2].map((at) => above[at] * a + b[at] * (1 - a)).concat(1);
};
const light = (colour) => {
  const [r, g, b] = colour.slice(0, 3).map((part) => {
    const value = part / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
};
const above = (element) => (element ? [element, ...above(element.parentElement)] : []);
const ground = (element, text) => {
  let stack = above(element);
  if (text) {
    // What lies under it need not be what it is in.
    const range = document.createRange();
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    const all = document.elementsFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    if (all.includes(element)) stack = all.slice(all.indexOf(element));
  }
  const layers = [];
  for (const at of stack) {
    const colour = numbers(getComputedStyle(at).backgroundColor);
    if (colour[3] > 0) layers.push(colour);
    if (colour[3] === 1) break;
  }
  return layers.reverse().reduce((below, above) => over(above, below), [255, 255, 255, 1]);
};
const shape = (text) => {
  const box = text.getBoundingClientRect();
  const stack = document.elementsFromPoint(box.left + box.width / 2, box.top + box.height / 2);
  for (const each of stack) {
    if (!["rect", "circle", "path"].includes(each.tagName) || !each.closest("svg.picture")) continue;
    const fill = getComputedStyle(each).fill;
    if (fill !== "none" && numbers(fill)[3] === 1) return numbers(fill);
  }
  return ground(text.closest("svg").parentElement);
};
const opacity = (element) => {
  let product = 1;
  for (let at = element; at; at = at.parentElement) product *= Number(getComputedStyle(at).opacity);
  return product;
};

const pale = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode;
  const element = text.parentElement;
  if (text.data.trim() === "" || element.closest("noscript, script, title, select, .unseen, .skip")
    || element.closest("button:disabled") || !element.checkVisibility({ visibilityProperty: true })) {
    continue;
  }
  const drawn = element.closest("svg") !== null;
  element.scrollIntoView({ block: "center", behavior: "instant" });
  const style = getComputedStyle(element);
  const behind = drawn ? shape(element) : ground(element, text);
  const own = numbers(drawn ? style.fill : style.color);
  const ink = over([...own.slice(0, 3), own[3] * opacity(element)], behind);
  const found = contrast(ink, behind);
  if (found < LEAST) {
    const name = element.getAttribute("class") ?? element.closest("[class]")?.className;
    pale.add(`${found.toFixed(1)} ${element.tagName}.${name} “${text.data.trim().slice(0, 40)}” `
      + `${ink.slice(0, 3).map(Math.round)} on ${behind.slice(0, 3).map(Math.round)}`);
  }
}
window.scrollTo(0, 0);
return [...pale];
