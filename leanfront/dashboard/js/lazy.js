/** Work that waits until somebody can see its place, a few pieces at once. */

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
 * Do something when an element comes into sight; what was to be done there before is left out.
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
      // It may come back.
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
