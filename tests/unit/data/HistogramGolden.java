/*
 * HistogramGolden.java - makes histogram_golden.txt with HdrHistogram's own implementation:
 *
 *   apt install libhdrhistogram-java default-jdk-headless
 *   java -cp /usr/share/java/hdrhistogram.jar HistogramGolden.java > histogram_golden.txt
 *
 * A line per case: name, number of values, mask of their magnitudes, and what the library says of them:
 * total, lowest, highest, mean, values at six percentiles, and the V2 compressed encoding in base64.
 * test_histogram.c draws the same values.
 */
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Base64;
import java.util.Locale;
import org.HdrHistogram.Histogram;

public class HistogramGolden {
	static final long MAX_NS = 60000000000L;
	static final double[] PERCENTILES = {50, 90, 95, 99, 99.9, 99.99};

	/* A linear congruential generator; `shift` bits decide on the magnitude of each value. */
	static void fill(Histogram histogram, long count, int bits) {
		long state = 1;

		for (long i = 0; i < count; i++) {
			state = state * 6364136223846793005L + 1442695040888963407L;
			long magnitude = (state >>> 59) % bits;
			histogram.recordValue(1 + (state >>> 20) % (MAX_NS >>> magnitude));
		}
	}

	public static void main(String[] args) {
		Object[][] cases = {
			{"empty", 0L, 1}, {"one", 1L, 1}, {"wide", 100000L, 32}, {"high", 20000L, 1},
			{"low", 300000L, 30}, {"sparse", 40L, 32},
		};

		for (Object[] c : cases) {
			Histogram histogram = new Histogram(1, MAX_NS, 3);
			fill(histogram, (Long)c[1], (Integer)c[2]);
			ByteBuffer buffer = ByteBuffer.allocate(
				histogram.getNeededByteBufferCapacity() + 1024);
			int length = histogram.encodeIntoCompressedByteBuffer(buffer);
			StringBuilder line = new StringBuilder();

			line.append(String.format(Locale.ROOT, "%s %d %d %d %d %d %.17g", c[0], c[1], c[2],
				histogram.getTotalCount(),
				histogram.getTotalCount() == 0 ? 0 : histogram.getMinValue(),
				histogram.getMaxValue(), histogram.getMean()));
			for (double percentile : PERCENTILES)
				line.append(" ").append(histogram.getValueAtPercentile(percentile));
			line.append(" ").append(Base64.getEncoder().encodeToString(
				Arrays.copyOf(buffer.array(), length)));
			System.out.println(line);
		}
	}
}
