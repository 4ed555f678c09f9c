//! The universe that needs no files.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::{Quote, Security, Universe};

const DATE: NaiveDate = NaiveDate::from_ymd_opt(2017, 12, 29).expect("a real date");

pub(super) fn universe() -> Universe {
    let securities = COMPANIES
        .iter()
        .map(|(ticker, name, ..)| Security { ticker: (*ticker).to_owned(), description: (*name).to_owned() })
        .collect();
    let quotes = COMPANIES
        .iter()
        .map(|(ticker, _, mean_cents, deviation_cents)| Quote {
            ticker: (*ticker).to_owned(),
            mean: Decimal::new(*mean_cents, 2),
            deviation: Decimal::new(*deviation_cents, 2),
        })
        .collect();
    Universe { date: DATE, securities, quotes }
}

/// Ticker, name, mean price and standard deviation in cents.
const COMPANIES: [(&str, &str, i64, i64); 100] = [
    ("AAPL", "Apple Inc.", 16_923, 271),
    ("MSFT", "Microsoft Corporation", 8_554, 111),
    ("AMZN", "Amazon.com Inc.", 116_947, 1_988),
    ("NVDA", "NVIDIA Corporation", 19_350, 387),
    ("GOOGL", "Alphabet Inc. Class A", 105_340, 1_475),
    ("BRK.B", "Berkshire Hathaway Inc. Class B", 19_822, 218),
    ("JPM", "JPMorgan Chase & Co.", 10_694, 150),
    ("JNJ", "Johnson & Johnson", 13_972, 140),
    ("V", "Visa Inc. Class A", 11_402, 148),
    ("PG", "Procter & Gamble Company", 9_188, 92),
    ("UNH", "UnitedHealth Group Incorporated", 22_046, 309),
    ("HD", "Home Depot Inc.", 18_953, 246),
    ("MA", "Mastercard Incorporated Class A", 15_136, 212),
    ("BAC", "Bank of America Corporation", 2_952, 47),
    ("XOM", "Exxon Mobil Corporation", 8_364, 100),
    ("CVX", "Chevron Corporation", 12_519, 163),
    ("PFE", "Pfizer Inc.", 3_622, 40),
    ("KO", "Coca-Cola Company", 4_588, 46),
    ("PEP", "PepsiCo Inc.", 11_992, 120),
    ("CSCO", "Cisco Systems Inc.", 3_830, 50),
    ("INTC", "Intel Corporation", 4_616, 78),
    ("ORCL", "Oracle Corporation", 4_728, 66),
    ("IBM", "International Business Machines Corporation", 15_342, 184),
    ("ADBE", "Adobe Inc.", 17_524, 298),
    ("CRM", "Salesforce Inc.", 10_223, 164),
    ("NFLX", "Netflix Inc.", 19_196, 384),
    ("DIS", "Walt Disney Company", 10_751, 129),
    ("CMCSA", "Comcast Corporation Class A", 4_005, 56),
    ("T", "AT&T Inc.", 3_888, 43),
    ("VZ", "Verizon Communications Inc.", 5_293, 58),
    ("WMT", "Walmart Inc.", 9_875, 109),
    ("COST", "Costco Wholesale Corporation", 18_612, 205),
    ("TGT", "Target Corporation", 6_525, 111),
    ("LOW", "Lowe's Companies Inc.", 9_294, 139),
    ("MCD", "McDonald's Corporation", 17_212, 172),
    ("SBUX", "Starbucks Corporation", 5_743, 75),
    ("NKE", "NIKE Inc. Class B", 6_255, 94),
    ("TJX", "TJX Companies Inc.", 7_646, 107),
    ("BKNG", "Booking Holdings Inc.", 173_774, 2_780),
    ("EBAY", "eBay Inc.", 3_774, 60),
    ("F", "Ford Motor Company", 1_249, 20),
    ("GM", "General Motors Company", 4_099, 70),
    ("TSLA", "Tesla Inc.", 31_135, 623),
    ("BA", "Boeing Company", 29_491, 442),
    ("CAT", "Caterpillar Inc.", 15_758, 236),
    ("DE", "Deere & Company", 15_651, 235),
    ("GE", "General Electric Company", 1_745, 33),
    ("HON", "Honeywell International Inc.", 15_336, 153),
    ("LMT", "Lockheed Martin Corporation", 32_105, 385),
    ("MMM", "3M Company", 23_537, 259),
    ("UPS", "United Parcel Service Inc. Class B", 11_915, 155),
    ("FDX", "FedEx Corporation", 24_954, 374),
    ("UNP", "Union Pacific Corporation", 13_410, 174),
    ("CSX", "CSX Corporation", 5_501, 88),
    ("DAL", "Delta Air Lines Inc.", 5_600, 95),
    ("LUV", "Southwest Airlines Co.", 6_545, 111),
    ("GS", "Goldman Sachs Group Inc.", 25_476, 382),
    ("MS", "Morgan Stanley", 5_247, 84),
    ("C", "Citigroup Inc.", 7_441, 112),
    ("WFC", "Wells Fargo & Company", 6_067, 79),
    ("USB", "U.S. Bancorp", 5_358, 64),
    ("PNC", "PNC Financial Services Group Inc.", 14_429, 188),
    ("AXP", "American Express Company", 9_931, 129),
    ("BLK", "BlackRock Inc.", 51_371, 719),
    ("SCHW", "Charles Schwab Corporation", 5_137, 87),
    ("CME", "CME Group Inc. Class A", 14_605, 190),
    ("SPGI", "S&P Global Inc.", 16_940, 237),
    ("MET", "MetLife Inc.", 5_056, 76),
    ("AIG", "American International Group Inc.", 5_958, 77),
    ("MRK", "Merck & Co. Inc.", 5_627, 68),
    ("ABBV", "AbbVie Inc.", 9_671, 164),
    ("ABT", "Abbott Laboratories", 5_707, 68),
    ("LLY", "Eli Lilly and Company", 8_446, 110),
    ("BMY", "Bristol-Myers Squibb Company", 6_128, 92),
    ("AMGN", "Amgen Inc.", 17_390, 243),
    ("GILD", "Gilead Sciences Inc.", 7_164, 122),
    ("BIIB", "Biogen Inc.", 31_857, 573),
    ("MDT", "Medtronic plc", 8_075, 89),
    ("TMO", "Thermo Fisher Scientific Inc.", 18_988, 247),
    ("DHR", "Danaher Corporation", 9_282, 111),
    ("CVS", "CVS Health Corporation", 7_250, 116),
    ("CI", "Cigna Corporation", 20_309, 305),
    ("TXN", "Texas Instruments Incorporated", 10_444, 157),
    ("QCOM", "QUALCOMM Incorporated", 6_402, 109),
    ("AVGO", "Broadcom Inc.", 25_690, 462),
    ("AMD", "Advanced Micro Devices Inc.", 1_028, 20),
    ("MU", "Micron Technology Inc.", 4_112, 82),
    ("AMAT", "Applied Materials Inc.", 5_112, 97),
    ("ACN", "Accenture plc Class A", 15_309, 184),
    ("ADP", "Automatic Data Processing Inc.", 11_719, 141),
    ("PYPL", "PayPal Holdings Inc.", 7_362, 125),
    ("NEE", "NextEra Energy Inc.", 15_619, 156),
    ("DUK", "Duke Energy Corporation", 8_411, 84),
    ("SO", "Southern Company", 4_809, 49),
    ("COP", "ConocoPhillips", 5_489, 93),
    ("SLB", "Schlumberger N.V.", 6_739, 115),
    ("KMI", "Kinder Morgan Inc.", 1_807, 29),
    ("AMT", "American Tower Corporation", 14_267, 171),
    ("PM", "Philip Morris International Inc.", 10_565, 137),
    ("CL", "Colgate-Palmolive Company", 7_545, 76),
];
