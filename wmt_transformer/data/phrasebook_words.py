"""The words of the built-in phrasebook: nouns, places, adjectives, verbs, times, in three languages.

One word a line, so that a reader of any of the three languages can check it by eye. Every English word has one
sense here and one translation, since a small model can only learn what the source determines. Classes keep the
sentences sensible: a verb names the classes of its objects, an adjective the classes that it fits. Endings,
articles and word order are in `phrasebook_grammar.py`.
"""

from __future__ import annotations

# English singular and plural | German singular, plural, gender (+n: weak masculine, "den Jungen") | French
# singular, plural, gender. People have the same gender in German and French, but for neuter Kind, Mädchen, Baby.
PEOPLE = """
man men | Mann Männer m | homme hommes m
woman women | Frau Frauen f | femme femmes f
boy boys | Junge Jungen mn | garçon garçons m
girl girls | Mädchen Mädchen n | fille filles f
child children | Kind Kinder n | enfant enfants m
father fathers | Vater Väter m | père pères m
mother mothers | Mutter Mütter f | mère mères f
brother brothers | Bruder Brüder m | frère frères m
sister sisters | Schwester Schwestern f | sœur sœurs f
uncle uncles | Onkel Onkel m | oncle oncles m
aunt aunts | Tante Tanten f | tante tantes f
grandfather grandfathers | Großvater Großväter m | grand-père grands-pères m
grandmother grandmothers | Großmutter Großmütter f | grand-mère grands-mères f
neighbor neighbors | Nachbar Nachbarn mn | voisin voisins m
teacher teachers | Lehrer Lehrer m | professeur professeurs m
student students | Student Studenten mn | étudiant étudiants m
doctor doctors | Arzt Ärzte m | médecin médecins m
nurse nurses | Krankenschwester Krankenschwestern f | infirmière infirmières f
colleague colleagues | Kollege Kollegen mn | collègue collègues m
gentleman gentlemen | Herr Herren mn | monsieur messieurs m
lady ladies | Dame Damen f | dame dames f
baker bakers | Bäcker Bäcker m | boulanger boulangers m
farmer farmers | Bauer Bauern mn | paysan paysans m
cook cooks | Koch Köche m | cuisinier cuisiniers m
waitress waitresses | Kellnerin Kellnerinnen f | serveuse serveuses f
actress actresses | Schauspielerin Schauspielerinnen f | actrice actrices f
singer singers | Sängerin Sängerinnen f | chanteuse chanteuses f
painter painters | Maler Maler m | peintre peintres m
lawyer lawyers | Anwalt Anwälte m | avocat avocats m
policeman policemen | Polizist Polizisten mn | policier policiers m
soldier soldiers | Soldat Soldaten mn | soldat soldats m
hero heroes | Held Helden mn | héros héros m
king kings | König Könige m | roi rois m
queen queens | Königin Königinnen f | reine reines f
prince princes | Prinz Prinzen mn | prince princes m
princess princesses | Prinzessin Prinzessinnen f | princesse princesses f
tourist tourists | Tourist Touristen mn | touriste touristes m
journalist journalists | Journalist Journalisten mn | journaliste journalistes m
engineer engineers | Ingenieur Ingenieure m | ingénieur ingénieurs m
guest guests | Gast Gäste m | invité invités m
customer customers | Kunde Kunden mn | client clients m
boss bosses | Chef Chefs m | patron patrons m
baby babies | Baby Babys n | bébé bébés m
"""

ANIMALS = """
dog dogs | Hund Hunde m | chien chiens m
cat cats | Katze Katzen f | chat chats m
horse horses | Pferd Pferde n | cheval chevaux m
cow cows | Kuh Kühe f | vache vaches f
bird birds | Vogel Vögel m | oiseau oiseaux m
mouse mice | Maus Mäuse f | souris souris f
pig pigs | Schwein Schweine n | cochon cochons m
rabbit rabbits | Kaninchen Kaninchen n | lapin lapins m
hamster hamsters | Hamster Hamster m | hamster hamsters m
bear bears | Bär Bären mn | ours ours m
lion lions | Löwe Löwen mn | lion lions m
elephant elephants | Elefant Elefanten mn | éléphant éléphants m
monkey monkeys | Affe Affen mn | singe singes m
fox foxes | Fuchs Füchse m | renard renards m
wolf wolves | Wolf Wölfe m | loup loups m
donkey donkeys | Esel Esel m | âne ânes m
goat goats | Ziege Ziegen f | chèvre chèvres f
owl owls | Eule Eulen f | hibou hiboux m
duck ducks | Ente Enten f | canard canards m
frog frogs | Frosch Frösche m | grenouille grenouilles f
snake snakes | Schlange Schlangen f | serpent serpents m
turtle turtles | Schildkröte Schildkröten f | tortue tortues f
"""

FOODS = """
apple apples | Apfel Äpfel m | pomme pommes f
pear pears | Birne Birnen f | poire poires f
banana bananas | Banane Bananen f | banane bananes f
orange oranges | Orange Orangen f | orange oranges f
lemon lemons | Zitrone Zitronen f | citron citrons m
cherry cherries | Kirsche Kirschen f | cerise cerises f
strawberry strawberries | Erdbeere Erdbeeren f | fraise fraises f
peach peaches | Pfirsich Pfirsiche m | pêche pêches f
tomato tomatoes | Tomate Tomaten f | tomate tomates f
potato potatoes | Kartoffel Kartoffeln f | pomme_de_terre pommes_de_terre f
carrot carrots | Karotte Karotten f | carotte carottes f
onion onions | Zwiebel Zwiebeln f | oignon oignons m
bean beans | Bohne Bohnen f | haricot haricots m
mushroom mushrooms | Pilz Pilze m | champignon champignons m
egg eggs | Ei Eier n | œuf œufs m
cake cakes | Kuchen Kuchen m | gâteau gâteaux m
sandwich sandwiches | Sandwich Sandwiches n | sandwich sandwichs m
sausage sausages | Wurst Würste f | saucisse saucisses f
pizza pizzas | Pizza Pizzen f | pizza pizzas f
cookie cookies | Keks Kekse m | biscuit biscuits m
"""

# Foods and drinks that are not counted: the plural is written, so that every line has one shape, and not used.
# "to eat" and "to drink" ask for different ones.
MASS_FOODS = """
bread - | Brot - n | pain - m
cheese - | Käse - m | fromage - m
meat - | Fleisch - n | viande - f
fish - | Fisch - m | poisson - m
rice - | Reis - m | riz - m
butter - | Butter - f | beurre - m
chocolate - | Schokolade - f | chocolat - m
soup - | Suppe - f | soupe - f
honey - | Honig - m | miel - m
"""
DRINKS = """
water - | Wasser - n | eau - f
milk - | Milch - f | lait - m
coffee - | Kaffee - m | café - m
tea - | Tee - m | thé - m
beer - | Bier - n | bière - f
wine - | Wein - m | vin - m
juice - | Saft - m | jus - m
lemonade - | Limonade - f | limonade - f
"""

TEXTS = """
book books | Buch Bücher n | livre livres m
letter letters | Brief Briefe m | lettre lettres f
newspaper newspapers | Zeitung Zeitungen f | journal journaux m
story stories | Geschichte Geschichten f | histoire histoires f
poem poems | Gedicht Gedichte n | poème poèmes m
novel novels | Roman Romane m | roman romans m
postcard postcards | Postkarte Postkarten f | carte_postale cartes_postales f
magazine magazines | Zeitschrift Zeitschriften f | magazine magazines m
e-mail e-mails | E-Mail E-Mails f | e-mail e-mails m
text texts | Text Texte m | texte textes m
"""

CLOTHES = """
coat coats | Mantel Mäntel m | manteau manteaux m
shirt shirts | Hemd Hemden n | chemise chemises f
dress dresses | Kleid Kleider n | robe robes f
skirt skirts | Rock Röcke m | jupe jupes f
hat hats | Hut Hüte m | chapeau chapeaux m
cap caps | Mütze Mützen f | casquette casquettes f
jacket jackets | Jacke Jacken f | veste vestes f
sweater sweaters | Pullover Pullover m | pull pulls m
shoe shoes | Schuh Schuhe m | chaussure chaussures f
boot boots | Stiefel Stiefel m | botte bottes f
scarf scarves | Schal Schals m | écharpe écharpes f
tie ties | Krawatte Krawatten f | cravate cravates f
ring rings | Ring Ringe m | bague bagues f
suit suits | Anzug Anzüge m | costume costumes m
"""

THINGS = """
key keys | Schlüssel Schlüssel m | clé clés f
cup cups | Tasse Tassen f | tasse tasses f
bottle bottles | Flasche Flaschen f | bouteille bouteilles f
knife knives | Messer Messer n | couteau couteaux m
spoon spoons | Löffel Löffel m | cuillère cuillères f
fork forks | Gabel Gabeln f | fourchette fourchettes f
plate plates | Teller Teller m | assiette assiettes f
bag bags | Tasche Taschen f | sac sacs m
suitcase suitcases | Koffer Koffer m | valise valises f
umbrella umbrellas | Regenschirm Regenschirme m | parapluie parapluies m
lamp lamps | Lampe Lampen f | lampe lampes f
pencil pencils | Bleistift Bleistifte m | crayon crayons m
phone phones | Telefon Telefone n | téléphone téléphones m
camera cameras | Kamera Kameras f | appareil_photo appareils_photo m
picture pictures | Bild Bilder n | tableau tableaux m
photo photos | Foto Fotos n | photo photos f
flower flowers | Blume Blumen f | fleur fleurs f
ball balls | Ball Bälle m | ballon ballons m
toy toys | Spielzeug Spielzeuge n | jouet jouets m
gift gifts | Geschenk Geschenke n | cadeau cadeaux m
candle candles | Kerze Kerzen f | bougie bougies f
mirror mirrors | Spiegel Spiegel m | miroir miroirs m
box boxes | Kiste Kisten f | boîte boîtes f
basket baskets | Korb Körbe m | panier paniers m
guitar guitars | Gitarre Gitarren f | guitare guitares f
computer computers | Computer Computer m | ordinateur ordinateurs m
radio radios | Radio Radios n | radio radios f
tool tools | Werkzeug Werkzeuge n | outil outils m
map maps | Landkarte Landkarten f | carte cartes f
pillow pillows | Kissen Kissen n | oreiller oreillers m
stamp stamps | Briefmarke Briefmarken f | timbre timbres m
watch watches | Uhr Uhren f | montre montres f
"""

VEHICLES = """
car cars | Auto Autos n | voiture voitures f
bus buses | Bus Busse m | bus bus m
train trains | Zug Züge m | train trains m
bicycle bicycles | Fahrrad Fahrräder n | vélo vélos m
ship ships | Schiff Schiffe n | bateau bateaux m
plane planes | Flugzeug Flugzeuge n | avion avions m
truck trucks | Lastwagen Lastwagen m | camion camions m
taxi taxis | Taxi Taxis n | taxi taxis m
motorcycle motorcycles | Motorrad Motorräder n | moto motos f
"""

FURNITURE = """
table tables | Tisch Tische m | table tables f
chair chairs | Stuhl Stühle m | chaise chaises f
bed beds | Bett Betten n | lit lits m
cupboard cupboards | Schrank Schränke m | armoire armoires f
shelf shelves | Regal Regale n | étagère étagères f
sofa sofas | Sofa Sofas n | canapé canapés m
armchair armchairs | Sessel Sessel m | fauteuil fauteuils m
bench benches | Bank Bänke f | banc bancs m
carpet carpets | Teppich Teppiche m | tapis tapis m
"""

# Places add their prepositions: English "at" and "to" | German at (dative) and to | French, for both.
PLACES = """
garden gardens | Garten Gärten m | jardin jardins m | in into | in in+A | dans
kitchen kitchens | Küche Küchen f | cuisine cuisines f | in into | in in+A | dans
house houses | Haus Häuser n | maison maisons f | in into | in in+A | dans
bedroom bedrooms | Schlafzimmer Schlafzimmer n | chambre chambres f | in into | in in+A | dans
living_room living_rooms | Wohnzimmer Wohnzimmer n | salon salons m | in into | in in+A | dans
cellar cellars | Keller Keller m | cave caves f | in into | in in+A | dans
park parks | Park Parks m | parc parcs m | in to | in in+A | dans
city cities | Stadt Städte f | ville villes f | in to | in in+A | dans
village villages | Dorf Dörfer n | village villages m | in to | in in+A | dans
forest forests | Wald Wälder m | forêt forêts f | in into | in in+A | dans
castle castles | Schloss Schlösser n | château châteaux m | in to | in zu+D | à
street streets | Straße Straßen f | rue rues f | in into | auf auf+A | dans
church churches | Kirche Kirchen f | église églises f | in to | in in+A | à
school schools | Schule Schulen f | école écoles f | at to | in in+A | à
hospital hospitals | Krankenhaus Krankenhäuser n | hôpital hôpitaux m | in to | in in+A | à
hotel hotels | Hotel Hotels n | hôtel hôtels m | in to | in in+A | à
restaurant restaurants | Restaurant Restaurants n | restaurant restaurants m | in to | in in+A | à
office offices | Büro Büros n | bureau bureaux m | in to | in in+A | à
library libraries | Bibliothek Bibliotheken f | bibliothèque bibliothèques f | in to | in in+A | à
museum museums | Museum Museen n | musée musées m | in to | in in+A | à
theater theaters | Theater Theater n | théâtre théâtres m | at to | in in+A | à
cinema cinemas | Kino Kinos n | cinéma cinémas m | at to | in in+A | à
bakery bakeries | Bäckerei Bäckereien f | boulangerie boulangeries f | in to | in in+A | à
supermarket supermarkets | Supermarkt Supermärkte m | supermarché supermarchés m | in to | in in+A | à
pharmacy pharmacies | Apotheke Apotheken f | pharmacie pharmacies f | in to | in in+A | à
factory factories | Fabrik Fabriken f | usine usines f | in to | in in+A | à
zoo zoos | Zoo Zoos m | zoo zoos m | at to | in in+A | à
market markets | Markt Märkte m | marché marchés m | at to | auf auf+A | à
farm farms | Bauernhof Bauernhöfe m | ferme fermes f | on to | auf auf+A | à
beach beaches | Strand Strände m | plage plages f | at to | an an+A | à
lake lakes | See Seen m | lac lacs m | at to | an an+A | à
station stations | Bahnhof Bahnhöfe m | gare gares f | at to | an zu+D | à
airport airports | Flughafen Flughäfen m | aéroport aéroports m | at to | an zu+D | à
university universities | Universität Universitäten f | université universités f | at to | an zu+D | à
bridge bridges | Brücke Brücken f | pont ponts m | on onto | auf auf+A | sur
island islands | Insel Inseln f | île îles f | on to | auf auf+A | sur
"""

# English, its comparative, or - for none | German predicate, the stem that takes endings, comparative | French
# masculine, feminine | before or after the noun | what it fits: p people, a animals, f foods, m uncounted foods,
# d drinks, r texts, w clothes, t things, v vehicles, u furniture, s places.
# An adjective in capitals is only said of its noun directly ("the new car"), not after "is".
ADJECTIVES = """
big bigger | groß groß größer | grand grande | before | pawtvus
small smaller | klein klein kleiner | petit petite | before | pafwtvus
old older | alt alt älter | vieux vieille | before | parwtvus
young younger | jung jung jünger | jeune jeune | before | pa
beautiful - | schön schön - | beau belle | before | parwtvus
good - | gut gut - | bon bonne | before | fmdr
bad - | schlecht schlecht - | mauvais mauvaise | before | fmdr
pretty - | hübsch hübsch - | joli jolie | before | pwtu
NEW - | neu neu - | nouveau nouvelle | before | prwtvus
strong stronger | stark stark stärker | fort forte | after | pa
clever - | klug klug - | intelligent intelligente | after | pa
brave - | mutig mutig - | courageux courageuse | after | pa
happy - | glücklich glücklich - | heureux heureuse | after | p
sad - | traurig traurig - | triste triste | after | pr
tired - | müde müd - | fatigué fatiguée | after | pa
rich richer | reich reich reicher | riche riche | after | p
poor - | arm arm - | pauvre pauvre | after | p
friendly - | freundlich freundlich - | aimable aimable | after | p
polite - | höflich höflich - | poli polie | after | p
famous - | berühmt berühmt - | célèbre célèbre | after | prs
patient - | geduldig geduldig - | patient patiente | after | p
sick - | krank krank - | malade malade | after | pa
curious - | neugierig neugierig - | curieux curieuse | after | pa
hungry - | hungrig hungrig - | affamé affamée | after | pa
dangerous - | gefährlich gefährlich - | dangereux dangereuse | after | a
loyal - | treu treu - | fidèle fidèle | after | p
fast faster | schnell schnell schneller | rapide rapide | after | v
slow slower | langsam langsam langsamer | lent lente | after | v
black - | schwarz schwarz - | noir noire | after | awtvu
white - | weiß weiß - | blanc blanche | after | awtvu
red - | rot rot - | rouge rouge | after | wtvu
green - | grün grün - | vert verte | after | wtvu
blue - | blau blau - | bleu bleue | after | wtvu
yellow - | gelb gelb - | jaune jaune | after | wtvu
brown - | braun braun - | brun brune | after | awu
gray - | grau grau - | gris grise | after | awtvu
fresh - | frisch frisch - | frais fraîche | after | fmd
cold - | kalt kalt - | froid froide | after | d
ripe - | reif reif - | mûr mûre | after | f
delicious - | köstlich köstlich - | délicieux délicieuse | after | fmd
expensive - | teuer teur - | cher chère | after | wtvu
cheap - | billig billig - | bon_marché bon_marché | after | wtvu
heavy heavier | schwer schwer schwerer | lourd lourde | after | tu
light - | leicht leicht - | léger légère | after | tw
round - | rund rund - | rond ronde | after | tu
broken - | kaputt kaputt - | cassé cassée | after | tu
modern - | modern modern - | moderne moderne | after | vus
elegant - | elegant elegant - | élégant élégante | after | wtu
practical - | praktisch praktisch - | pratique pratique | after | wtvu
comfortable - | bequem bequem - | confortable confortable | after | wu
warm - | warm warm - | chaud chaude | after | w
dirty - | schmutzig schmutzig - | sale sale | after | awtvu
clean - | sauber sauber - | propre propre | after | awtvu
long longer | lang lang länger | long longue | after | rw
short shorter | kurz kurz kürzer | court courte | after | rw
interesting - | interessant interessant - | intéressant intéressante | after | rs
boring - | langweilig langweilig - | ennuyeux ennuyeuse | after | r
funny - | lustig lustig - | drôle drôle | after | pr
easy easier | einfach einfach einfacher | facile facile | after | r
quiet - | ruhig ruhig - | calme calme | after | ps
"""

# Nouns of a fitting class that an adjective does not fit all the same: a plate is round, a key is not.
UNFITTING = {
    "round": "key knife fork spoon guitar computer umbrella pencil phone camera photo bag suitcase flower ball "
    "toy gift radio tool map stamp bottle bed bench cupboard shelf sofa armchair",
    "heavy": "key spoon fork pencil photo flower candle stamp map watch pillow",
    "light": "key stamp photo coat",
    "broken": "key pencil flower ball gift photo picture pillow map stamp candle carpet box basket",
    "comfortable": "tie ring scarf hat table cupboard shelf carpet",
    "warm": "tie ring hat suit shirt dress skirt",
    "long": "letter postcard shoe boot hat cap ring suit shirt sweater tie jacket",
    "short": "shoe boot hat cap ring suit shirt sweater tie scarf",
    "clean": "ring photo picture stamp candle flower map elephant lion bear",
    "dirty": "ring candle flower gift stamp",
    "practical": "ring tie photo picture flower candle ball toy stamp pillow",
    "elegant": "key knife tool toy ball box computer radio bench photo",
    "pretty": "man boy father brother uncle grandfather neighbor teacher student doctor colleague gentleman baker "
    "farmer cook painter lawyer policeman soldier hero king prince tourist journalist engineer guest customer boss "
    "cap knife tool computer map phone",
    "beautiful": "boss baker farmer cook lawyer policeman mouse pig snake monkey frog knife tool spoon fork plate "
    "text e-mail newspaper magazine truck bus",
    "NEW": "man woman boy girl father mother brother sister uncle aunt grandfather grandmother gentleman lady hero "
    "queen king prince princess tourist baby child painter beach lake forest village island garden",
    "old": "child boy girl baby beach lake e-mail text apple",
    "young": "grandfather grandmother turtle",
    "big": "grandfather grandmother baby mouse hero prince tie stamp gentleman child boy",
    "small": "elephant horse bear lion cow man gentleman king queen hero",
    "famous": "father mother brother sister uncle aunt grandfather grandmother boy girl baby nurse waitress neighbor "
    "customer guest tourist colleague child postcard e-mail letter pharmacy supermarket bakery bedroom living_room "
    "kitchen cellar office station farm factory garden house bridge street city village forest lake "
    "text newspaper magazine park school",
    "interesting": "kitchen bedroom living_room cellar bakery supermarket pharmacy street beach office house bridge "
    "lake hospital factory station restaurant hotel airport",
    "modern": "beach lake island forest village garden park castle farm market cellar zoo",
    "quiet": "bakery pharmacy factory zoo supermarket market station airport bridge cinema theater",
    "sad": "newspaper magazine postcard",
    "funny": "newspaper magazine novel baker lawyer farmer",
    "easy": "letter newspaper story novel postcard magazine poem e-mail",
    "strong": "baby mouse hamster grandmother child",
    "clever": "baby frog turtle cow hamster duck",
    "brave": "baby cow frog turtle duck pig",
    "dangerous": "cat cow mouse rabbit hamster donkey goat owl duck frog turtle horse bird pig fox monkey elephant",
    "sick": "hero",
    "rich": "baby child student soldier nurse",
    "poor": "baby king queen prince princess hero boss",
    "patient": "baby child boy girl",
    "polite": "baby",
    "loyal": "baby child boy girl man woman lady gentleman tourist father mother brother sister uncle aunt king queen",
    "friendly": "baby",
    "brown": "owl elephant pig frog lion suit",
    "black": "lion elephant owl frog donkey pig mouse lamp bear turtle duck",
    "white": "lion elephant frog snake bear fox turtle monkey donkey candle",
    "gray": "lion frog bear fox pig cow turtle snake duck candle",
    "ripe": "potato carrot onion bean mushroom egg cake sandwich sausage pizza cookie",
    "fresh": "lemonade wine honey chocolate rice cookie pizza soup tea coffee cake",
    "red": "suit spoon fork knife mirror photo picture",
    "green": "suit spoon fork knife mirror photo picture",
    "blue": "spoon fork knife mirror photo picture",
    "yellow": "suit spoon fork knife mirror photo picture",
}
