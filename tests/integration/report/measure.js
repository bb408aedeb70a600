// Looks at a page and says what a reader would stumble over. Evaluates to an object of lists.
(() => {
  const faults = { overflow: [], contrast: [], overlap: [], outside: [], invisible: [] };
  const width = document.documentElement.clientWidth;
  const short = (element) =>
    `${element.tagName.toLowerCase()} '${element.textContent.trim().slice(0, 40)}'`;
  const channels = (text) => {
    const found = text.match(/[\d.]+/g).map(Number);
    return found.length === 3 ? [...found, 1] : found;
  };
  const luminance = (colour) => {
    const parts = colour.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const background = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (channels(colour)[3] === 1) return channels(colour);
    }
    return [255, 255, 255, 1];
  };
  const scrolls = (element) => {
    for (let one = element; one; one = one.parentElement) {
      if (["auto", "scroll"].includes(getComputedStyle(one).overflowX)) return true;
    }
    return false;
  };

  if (document.documentElement.scrollWidth > width) {
    faults.overflow.push(`page: ${document.documentElement.scrollWidth} of ${width}`);
  }
  let texts = 0;
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility()) continue;
    const box = element.getBoundingClientRect();
    if (box.right > width + 1 && !element.ownerSVGElement && !scrolls(element)) {
      faults.overflow.push(`${short(element)}: ${Math.round(box.right)} of ${width}`);
    }
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const fore = channels(element.ownerSVGElement ? style.fill : style.color);
    const [high, low] = [luminance(fore), luminance(background(element))].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (!(ratio >= 4.5)) faults.contrast.push(`${short(element)}: ${ratio.toFixed(2)}`);
  }
  const plots = [...document.querySelectorAll("svg.plot")];
  let labels = 0;
  for (const plot of plots) {
    const frame = plot.getBoundingClientRect();
    if (!plot.checkVisibility() || frame.width < 100 || frame.height < 50) {
      faults.invisible.push(plot.getAttribute("aria-label"));
    }
    if (!plot.querySelector("use")) faults.invisible.push("no shape in a plot");
    const boxes = [...plot.querySelectorAll("text")].map((text) => ({
      name: short(text), box: text.getBoundingClientRect(),
    }));
    labels += boxes.length;
    for (const { name, box } of boxes) {
      if (box.left < frame.left - 2 || box.right > frame.right + 2 ||
          box.top < frame.top - 2 || box.bottom > frame.bottom + 2) faults.outside.push(name);
    }
    // A line's box is higher than its letters: what may be shared is their leading.
    boxes.forEach((one, number) => boxes.slice(number + 1).forEach((other) => {
      const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const down = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      if (across > 1 && down > 0.25 * Math.min(one.box.height, other.box.height)) {
        faults.overlap.push(`${one.name} and ${other.name}`);
      }
    }));
  }
  return { plots: plots.length, labels, texts, paper: background(document.body), faults };
})()
