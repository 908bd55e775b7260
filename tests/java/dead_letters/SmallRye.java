import io.smallrye.mutiny.operators.multi.processors.UnicastProcessor;
import io.smallrye.reactive.messaging.kafka.IncomingKafkaRecord;
import io.smallrye.reactive.messaging.kafka.fault.KafkaDeadLetterQueue;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.eclipse.microprofile.reactive.messaging.Message;
import org.eclipse.microprofile.reactive.messaging.Metadata;

/** What SmallRye's dead-letter queue hands to its sink: a first failure, and that letter failing again. */
final class SmallRye {
    private static final String FROM = "io.smallrye.reactive:smallrye-reactive-messaging-kafka:4.36.0";

    public static void main(String[] folder) throws Exception {
        var first = fail(Written.order(), "dead-letter-topic-orders", Written.failure("stock is below zero"));
        Written.keep(folder[0], "smallrye", FROM, first);
        var again = Written.read("dead-letter-topic-orders", 0, 7, Written.SENT + 60_000, first.headers());
        Written.keep(folder[0], "smallrye-twice", FROM,
            fail(again, "dead-letter-topic-orders-again", new IllegalArgumentException("still below zero")));
        System.exit(0);
    }

    private static ProducerRecord<?, ?> fail(ConsumerRecord<byte[], byte[]> record, String topic, Throwable why) {
        UnicastProcessor<Message<?>> sink = UnicastProcessor.create();
        ProducerRecord<?, ?>[] written = new ProducerRecord<?, ?>[1];
        sink.subscribe().with(message -> written[0] = (ProducerRecord<?, ?>) message.getPayload());
        var queue = new KafkaDeadLetterQueue("orders", topic, null, sink);
        queue.handle(new IncomingKafkaRecord<>(record, "orders", 0, null, queue, false, false), why, Metadata.empty());
        return written[0];
    }
}
