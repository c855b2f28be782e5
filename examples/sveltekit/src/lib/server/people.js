// Stands for your users table. The ids are what Parlor knows people by: the `sub` of their tokens.
const people = [
  { id: 'alice', name: 'Alice' },
  { id: 'bob', name: 'Bob' },
  { id: 'carol', name: 'Carol' },
  { id: 'dave', name: 'Dave' },
];

/** @param {unknown} id */
export const findPerson = (id) => people.find((person) => person.id === id) ?? null;

export const allPeople = () => people;
