/** Work that waits until its place is visible, a few pieces at a time. */

const AT_ONCE = 3;
const works = new WeakMap();
const queue = [];
let running = 0;

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      queue.push(target);
    }
    next();
  },
  { rootMargin: "300px" },
);

/**
 * Run work when an element becomes visible, replacing earlier work for it.
 * @param {Element} element
 * @param {function(): Promise<void>} work
 */
export function whenSeen(element, work) {
  works.set(element, work);
  observer.unobserve(element);
  observer.observe(element);
}

function next() {
  while (running < AT_ONCE && queue.length) {
    const target = queue.shift();
    if (!target.isConnected) {
      // It may become visible again.
      observer.observe(target);
      continue;
    }
    running += 1;
    works.get(target)().finally(() => {
      running -= 1;
      next();
    });
  }
}
