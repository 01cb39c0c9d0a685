// What mouse, pen and fingers do on a picture.
//
// The wheel, and one finger up or down, scroll through the slices. Dragging with the mouse or with two fingers sets the
// window: sideways its width, up and down its centre.

/** Finger movement for one slice, px. */
const SLICE_PX = 14;
/** Wheel movement for one slice, px. */
const WHEEL_PX = 40;
/** A press that moves less is a click, px. */
const STILL_PX = 4;

export function followPointer(element, { scroll, window, click }) {
  const pressed = new Map();
  let moved = 0;
  let rest = 0;
  let wheel = 0;

  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    // A notch is a slice; the many small steps of a touchpad add up to one.
    wheel += event.deltaMode === 0 ? event.deltaY / WHEEL_PX : event.deltaY;
    const steps = Math.abs(wheel) >= 1 ? Math.sign(wheel) : 0;
    if (steps) wheel = 0;
    if (steps) scroll(steps);
  }, { passive: false });

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pressed.set(event.pointerId, event);
    element.setPointerCapture(event.pointerId);
    if (pressed.size === 1) moved = rest = 0;
  });

  element.addEventListener("pointermove", (event) => {
    const last = pressed.get(event.pointerId);
    if (!last) return;
    const [dx, dy] = [event.clientX - last.clientX, event.clientY - last.clientY];
    pressed.set(event.pointerId, event);
    moved += Math.abs(dx) + Math.abs(dy);
    if (moved < STILL_PX) return;
    const isFinger = event.pointerType === "touch";
    if (!isFinger || pressed.size === 2) return window(dx / pressed.size, dy / pressed.size);
    rest += dy;
    const steps = Math.trunc(rest / SLICE_PX);
    rest -= steps * SLICE_PX;
    if (steps) scroll(steps);
  });

  element.addEventListener("pointerup", (event) => {
    const isClick = pressed.delete(event.pointerId) && moved < STILL_PX;
    // Captured, the event's own target is the element.
    if (isClick) click(document.elementFromPoint(event.clientX, event.clientY));
  });
  element.addEventListener("pointercancel", (event) => pressed.delete(event.pointerId));
}
