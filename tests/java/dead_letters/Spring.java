import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.MockProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.core.ProducerFactory;
import org.springframework.kafka.listener.DeadLetterPublishingRecoverer;
import org.springframework.kafka.listener.ListenerExecutionFailedException;
import org.springframework.kafka.retrytopic.DeadLetterPublishingRecovererFactory;
import org.springframework.kafka.retrytopic.DestinationTopic;
import org.springframework.kafka.retrytopic.DestinationTopicPropertiesFactory;
import org.springframework.kafka.retrytopic.DestinationTopicResolver;
import org.springframework.kafka.retrytopic.DltStrategy;
import org.springframework.kafka.retrytopic.SameIntervalTopicReuseStrategy;
import org.springframework.kafka.retrytopic.TopicSuffixingStrategy;
import org.springframework.kafka.support.ExceptionMatcher;

/** What Spring Kafka's recoverers hand to their producer: plain, a second pass, and through retry topics. */
final class Spring {
    private static final String FROM = "org.springframework.kafka:spring-kafka:4.0.0";
    private static MockProducer<byte[], byte[]> producer;
    private static final KafkaTemplate<byte[], byte[]> TEMPLATE = new KafkaTemplate<>(new ProducerFactory<>() {
        @Override
        public Producer<byte[], byte[]> createProducer() {
            producer = new MockProducer<>(true, null, new ByteArraySerializer(), new ByteArraySerializer());
            return producer;
        }
    });

    public static void main(String[] folder) throws Exception {
        var recoverer = new DeadLetterPublishingRecoverer(TEMPLATE);
        var first = fail(recoverer, Written.order(), "stock is below zero");
        Written.keep(folder[0], "spring-kafka", FROM, first);
        var again = Written.read("orders-dlt", 3, 7, Written.SENT + 60_000, first.headers());
        Written.keep(folder[0], "spring-kafka-twice", FROM, fail(recoverer, again, "still below zero"));
        retryTopics(folder[0]);
    }

    /** orders -> orders-retry -> orders-dlt, each hop as the retry-topic machinery writes it. */
    private static void retryTopics(String folder) throws Exception {
        var recoverer = new DeadLetterPublishingRecovererFactory(new Hops()).create("listener");
        var retry = fail(recoverer, Written.order(), "stock is below zero");
        var again = Written.read(retry.topic(), 3, 12, Written.SENT + 1_000, retry.headers());
        Written.keep(folder, "spring-kafka-retry-topics", FROM, fail(recoverer, again, "still below zero"));
    }

    private static ProducerRecord<byte[], byte[]> fail(
        DeadLetterPublishingRecoverer recoverer, ConsumerRecord<byte[], byte[]> record, String message) {
        recoverer.accept(record, null,
            new ListenerExecutionFailedException("Listener failed", "reserving", Written.failure(message)));
        return producer.history().get(0);
    }

    private static final class Hops implements DestinationTopicResolver {
        /** The main topic, one retry topic and the dead-letter topic, in this order. */
        private static final List<DestinationTopic> TOPICS =
            new DestinationTopicPropertiesFactory("-retry", "-dlt", List.of(1_000L),
                ExceptionMatcher.defaultMatcher(), 4, TEMPLATE, DltStrategy.FAIL_ON_ERROR,
                TopicSuffixingStrategy.SUFFIX_WITH_INDEX_VALUE, SameIntervalTopicReuseStrategy.SINGLE_TOPIC, 60_000)
                .createProperties().stream().map(how -> new DestinationTopic("orders" + how.suffix(), how)).toList();

        @Override
        public DestinationTopic resolveDestinationTopic(
            String listener, String topic, Integer attempt, Exception why, long originalTimestamp) {
            return getNextDestinationTopicFor(listener, topic);
        }

        @Override
        public DestinationTopic getDestinationTopicByName(String listener, String topic) {
            return TOPICS.stream().filter(one -> one.getDestinationName().equals(topic)).findFirst().orElseThrow();
        }

        @Override
        public DestinationTopic getNextDestinationTopicFor(String listener, String topic) {
            return TOPICS.get(TOPICS.indexOf(getDestinationTopicByName(listener, topic)) + 1);
        }

        @Override
        public void addDestinationTopics(String listener, List<DestinationTopic> topics) {
            throw new UnsupportedOperationException();
        }
    }
}
