// The states that are offered for an edge: with a service's action, or as a pattern. Names and addresses in them are examples.

export type Language = 'JSONPath' | 'JSONata';
type Members = Record<string, unknown>;

export interface Offered {
  name: string;
  /** The state, in a language. `name` is that of the state, for states in it. */
  make(language: Language, name: string): Members;
}

/** A member with the whole input of the state. */
const input = (language: Language, member: string): Members => (language === 'JSONata' ? { [member]: '{% $states.input %}' } : { [`${member}.$`]: '$' });
/** A member with a value of the context object. */
const context = (language: Language, member: string, path: string): Members => (language === 'JSONata' ? { [member]: `{% $states.context.${path} %}` } : { [`${member}.$`]: `$$.${path}` });

/** A Task with a resource of Step Functions and its arguments. */
export const task = (language: Language, resource: string, members: Members = {}): Members => ({ Type: 'Task', Resource: resource, [language === 'JSONata' ? 'Arguments' : 'Parameters']: members });

const service = (name: string, action: string, members: (language: Language) => Members): Offered => ({ name, make: (language) => task(language, `arn:aws:states:::${action}`, members(language)) });
const inner = (language: Language, name: string) => ({ StartAt: name, States: { [name]: { ...task(language, 'arn:aws:states:::lambda:invoke', { FunctionName: 'function', ...input(language, 'Payload') }), End: true } } });

export const SERVICES: Offered[] = [
  service('Lambda: invoke', 'lambda:invoke', (it) => ({ FunctionName: 'function', ...input(it, 'Payload') })),
  service('SQS: send a message', 'sqs:sendMessage', (it) => ({ QueueUrl: 'https://sqs.us-east-1.amazonaws.com/123456789012/queue', ...input(it, 'MessageBody') })),
  service('SNS: publish', 'sns:publish', (it) => ({ TopicArn: 'arn:aws:sns:us-east-1:123456789012:topic', ...input(it, 'Message') })),
  service('DynamoDB: get an item', 'dynamodb:getItem', () => ({ TableName: 'table', Key: { id: { S: 'id' } } })),
  service('DynamoDB: put an item', 'dynamodb:putItem', () => ({ TableName: 'table', Item: { id: { S: 'id' } } })),
  service('EventBridge: put events', 'events:putEvents', (it) => ({ Entries: [{ Source: 'my.application', DetailType: 'Something happened', EventBusName: 'default', ...input(it, 'Detail') }] })),
  service('Step Functions: start an execution and wait', 'states:startExecution.sync:2', (it) => ({ StateMachineArn: 'arn:aws:states:us-east-1:123456789012:stateMachine:other', ...input(it, 'Input') })),
  service('HTTP: call an API', 'http:invoke', () => ({ ApiEndpoint: 'https://api.example.com/orders', Method: 'GET', Authentication: { ConnectionArn: 'arn:aws:events:us-east-1:123456789012:connection/example/1' } })),
  service('ECS: run a task and wait', 'ecs:runTask.sync', () => ({ Cluster: 'cluster', TaskDefinition: 'definition', LaunchType: 'FARGATE' })),
  service('Batch: submit a job and wait', 'batch:submitJob.sync', () => ({ JobName: 'job', JobDefinition: 'definition', JobQueue: 'queue' })),
  service('Glue: start a job and wait', 'glue:startJobRun.sync', () => ({ JobName: 'job' })),
];

export const PATTERNS: Offered[] = [
  { name: 'Process each item', make: (it, name) => ({ Type: 'Map', ...(it === 'JSONata' ? { Items: '{% $states.input.items %}' } : { ItemsPath: '$.items' }), MaxConcurrency: 10, ItemProcessor: inner(it, `${name}: item`) }) },
  { name: 'Do two things at once', make: (it, name) => ({ Type: 'Parallel', Branches: [inner(it, `${name}: one`), inner(it, `${name}: other`)] }) },
  {
    name: 'Ask and wait for the answer',
    make: (it) => ({ ...task(it, 'arn:aws:states:::sqs:sendMessage.waitForTaskToken', { QueueUrl: 'https://sqs.us-east-1.amazonaws.com/123456789012/queue', MessageBody: { ...input(it, 'question'), ...context(it, 'token', 'Task.Token') } }), TimeoutSeconds: 86_400 }),
  },
  {
    name: 'Call a function, and again if it fails',
    make: (it) => ({
      ...task(it, 'arn:aws:states:::lambda:invoke', { FunctionName: 'function', ...input(it, 'Payload') }),
      TimeoutSeconds: 60,
      Retry: [{ ErrorEquals: ['Lambda.ServiceException', 'Lambda.AWSLambdaException', 'Lambda.SdkClientException', 'Lambda.TooManyRequestsException', 'States.Timeout'], IntervalSeconds: 1, MaxAttempts: 3, BackoffRate: 2, JitterStrategy: 'FULL' }],
    }),
  },
];
