// What a reader said of an exam before handing it in, kept in this browser: a closed tab loses nothing.

const key = ({ list, reader, session, study_ref }) => `modicd-reading ${list} ${reader} ${session} ${study_ref}`;

export function load(standing) {
  return JSON.parse(localStorage.getItem(key(standing))) ?? { grades: {}, seconds: 0 };
}

export function save(standing, grades, seconds) {
  localStorage.setItem(key(standing), JSON.stringify({ grades, seconds }));
}

export function drop(standing) {
  localStorage.removeItem(key(standing));
}
