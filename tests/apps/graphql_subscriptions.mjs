// GraphQL subscriptions over Redis: subscribers of one server receive the messages that a mutation on the other
// publishes.
import { assert, eventually, load, main, url } from './checks.mjs';

const { Redis } = load('ioredis');
const { buildSchema, execute, parse, subscribe } = load('graphql');
const { RedisPubSub } = load('graphql-redis-subscriptions');

const schema = buildSchema(`
  type Query { rooms: [String] }
  type Mutation { say(room: String!, text: String!): Boolean }
  type Subscription { said(room: String!): String, anywhere: String }
`);

function serve() {
  const pubSub = new RedisPubSub({ publisher: new Redis(url), subscriber: new Redis(url) });
  const rootValue = {
    say: async ({ room, text }) => {
      await pubSub.publish(`room.${room}`, { said: text, anywhere: `${room}: ${text}` });
      return true;
    },
    said: ({ room }) => pubSub.asyncIterator(`room.${room}`),
    anywhere: () => pubSub.asyncIterator('room.*', { pattern: true }),
  };
  return {
    pubSub,
    subscribe: (text) => subscribe({ schema, rootValue, document: parse(text) }),
    say: (room, text) =>
      execute({ schema, rootValue, document: parse(`mutation { say(room: "${room}", text: "${text}") }`) }),
  };
}

async function twoServers() {
  const [one, two] = [serve(), serve()];
  const redis = new Redis(url);
  const room = await two.subscribe('subscription { said(room: "a") }');
  const anywhere = await two.subscribe('subscription { anywhere }');
  const [inRoom, all] = [room.next(), anywhere.next()];
  await eventually('the subscriptions', async () => {
    const [[, members], patterns] = [await redis.pubsub('NUMSUB', 'room.a'), await redis.pubsub('NUMPAT')];
    return Number(members) === 1 && Number(patterns) === 1;
  });
  await one.say('b', 'to b');
  await one.say('a', 'to a');
  assert.equal((await inRoom).value.data.said, 'to a');
  assert.equal((await all).value.data.anywhere, 'b: to b');
  assert.equal((await anywhere.next()).value.data.anywhere, 'a: to a');
  await room.return();
  await anywhere.return();
  await eventually('the end of the subscriptions', async () => (await redis.pubsub('CHANNELS')).length === 0);
}

await main([twoServers]);
