import java.util.Properties;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler;
import org.apache.kafka.streams.test.TestRecord;

/** The dead letter of a topology whose step fails, as Kafka Streams' own test driver sends it. */
final class Streams {
    public static void main(String[] folder) throws Exception {
        var builder = new StreamsBuilder();
        builder.<byte[], byte[]>stream("orders").mapValues(value -> {
            if (value != null) {
                throw Written.failure("stock is below zero");
            }
            return value;
        }).to("reservations");
        var settings = new Properties();
        settings.put("application.id", "reserving");
        settings.put("bootstrap.servers", "127.0.0.1:1");
        settings.put("default.key.serde", Serdes.ByteArraySerde.class);
        settings.put("default.value.serde", Serdes.ByteArraySerde.class);
        settings.put("processing.exception.handler", LogAndContinueProcessingExceptionHandler.class);
        settings.put("errors.dead.letter.queue.topic.name", "reserving-dlq");
        try (var driver = new TopologyTestDriver(builder.build(), settings)) {
            var order = Written.order();
            driver.createInputTopic("orders", new ByteArraySerializer(), new ByteArraySerializer())
                .pipeInput(new TestRecord<>(order.key(), order.value(), new RecordHeaders(order.headers()),
                    Written.SENT));
            var dead = driver.createOutputTopic(
                "reserving-dlq", new ByteArrayDeserializer(), new ByteArrayDeserializer()).readRecord();
            Written.keep(folder[0], "kafka-streams", "org.apache.kafka:kafka-streams:4.4.0",
                "reserving-dlq", dead.timestamp(), dead.headers());
        }
    }
}
